"""Vary what training sees: a small data set is memorised otherwise.

All frames of a window are changed alike, so that what happens in it stays what its actions did.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from jepawm.errors import UserError
from jepawm.types import Observation, Trajectory
from jepawm.views import split_views


@dataclass(frozen=True, kw_only=True)
class AugmentationConfig:
    """How far training windows are changed; 0 leaves them as they are."""

    shift: int = 0
    """Largest shift in pixels, along both axes; the frame's border is repeated."""
    color: float = 0.0
    """Largest change of contrast, part of 1; brightness changes by up to half of it, part of white,
    and each colour's contrast by up to half of it."""
    action_noise: float = 0.0
    """Standard deviation of noise on normalised actions, each number its own; like a ridge, it keeps
    predictions from resting on small differences."""
    proprio_noise: float = 0.0
    """Standard deviation of noise on normalised proprioception, the same for all of a window."""

    def __post_init__(self) -> None:
        """Check ranges."""
        if self.shift < 0:
            raise UserError(f"data.augmentation.shift = {self.shift}; give 0 or more pixels")
        if not 0.0 <= self.color < 1.0:
            raise UserError(f"data.augmentation.color = {self.color}; give 0 to below 1")
        for name in ("action_noise", "proprio_noise"):
            if not 0.0 <= getattr(self, name) < float("inf"):
                raise UserError(f"data.augmentation.{name} = {getattr(self, name)}; give 0 or more")

    @property
    def changes_pixels(self) -> bool:
        """Return whether frames are changed, so that their tokens cannot be kept."""
        return self.shift > 0 or self.color > 0


def augment(
    batch: Trajectory,
    config: AugmentationConfig,
    *,
    step_seed: int,
    indices: Int64[Tensor, " B"],
) -> Trajectory:
    """Change windows `[B]`; the random numbers of each depend on the step and its index alone.

    So they are the same however a batch is shared between processes.
    """
    if config == AugmentationConfig():
        return batch
    generators = [np.random.default_rng((step_seed, index)) for index in indices.tolist()]
    obs, actions = batch.obs, batch.actions
    if config.changes_pixels:
        assert isinstance(obs, Observation)  # the configuration allows no feature cache then
        windows = zip(obs.pixels, generators, strict=True)
        obs = replace(obs, pixels=torch.stack([_frames(x, config, rng) for x, rng in windows]))
    if config.action_noise:
        actions = actions + config.action_noise * _normal(generators, actions.shape[1:])
    if config.proprio_noise and obs.proprio is not None:
        noise = _normal(generators, (1, obs.proprio.shape[2]))
        obs = replace(obs, proprio=obs.proprio + config.proprio_noise * noise)
    return Trajectory(obs=obs, actions=actions)


def _normal(
    generators: Sequence[np.random.Generator], shape: Sequence[int]
) -> Float[Tensor, "B *n"]:
    return torch.from_numpy(
        np.stack([rng.standard_normal(shape, np.float32) for rng in generators])
    )


def _frames(
    pixels: UInt8[Tensor, "T 3 height width"],
    config: AugmentationConfig,
    rng: np.random.Generator,
) -> UInt8[Tensor, "T 3 height width"]:
    count = max(1, pixels.shape[-2] // pixels.shape[-1])  # several cameras lie one below the other
    if count > 1:
        return torch.cat(
            [_frames(view, config, rng) for view in split_views(pixels, count)], dim=-2
        )
    down, right = rng.integers(2 * config.shift + 1, size=2)
    height, width = pixels.shape[-2:]
    images = F.pad(pixels.float(), (config.shift,) * 4, mode="replicate")
    images = images[..., down : down + height, right : right + width]
    if config.color:
        draws = torch.from_numpy(rng.uniform(-config.color, config.color, 5)).float()
        contrast = 1 + draws[0] + 0.5 * draws[1:4, None, None]  # [3, 1, 1]
        mean = images.mean()
        images = (images - mean) * contrast + mean + 0.5 * 255 * draws[4]
    return images.round().clamp(0, 255).to(torch.uint8)
