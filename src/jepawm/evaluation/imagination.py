"""What a world model imagines of an episode: from its first frame alone, or with real frames now and then."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from jepawm.contracts import WorldModel
from jepawm.evaluation.rollouts import Probe
from jepawm.models.latent_heads import LatentHead
from jepawm.normalizer import Normalizer
from jepawm.types import Context, Latent, Observation, concatenate


@dataclass(frozen=True, kw_only=True, eq=False)
class Clip:
    """A piece of one episode, a frame after each action block."""

    obs: Observation
    """Observations `[T+1]`, environment units."""
    actions: Float[Tensor, "T A"]
    """Action blocks `[T, A]` between them, normalised."""
    states: Float[np.ndarray, "frames S"] | None
    """Exact states `[T+1, S]`; None where they are unknown."""


@dataclass(frozen=True, kw_only=True)
class StepErrors:
    """How far what was imagined is from what was there, after `k` action blocks."""

    k: int
    """Action blocks since the first frame."""
    latent: float
    """Mean squared difference between the imagined tokens and those of the real frame."""
    latent_with_frames: float
    """The same with real frames every few blocks."""
    picture: float | None
    """Root mean squared difference between the decoded imagined latent and the real frame, 0 to 255; None
    without a decoder."""
    picture_with_frames: float | None
    """The same with real frames every few blocks."""
    picture_seen: float | None
    """The same of the decoded latent of the real frame itself: the decoder's own error."""
    state: float | None
    """Distance between the place that a probe reads from the imagined latent and the real one, in units of
    the state; None where it is unknown."""
    state_with_frames: float | None
    """The same with real frames every few blocks."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Imagination:
    """What was seen and what was imagined of a clip."""

    seen: Latent
    """Latents `[T+1]` of the real frames."""
    alone: Latent
    """Latents `[T+1]` imagined from the first frame alone."""
    helped: Latent
    """Latents `[T+1]` imagined with real frames every few blocks."""


@torch.no_grad()
def imagine_clip(
    model: WorldModel, clip: Clip, *, normalizer: Normalizer, every: int, window: int
) -> Imagination:
    """Imagine a clip.

    Args:
        model: the world model.
        clip: what was seen and done.
        normalizer: statistics of the training data.
        every: blocks after which a real frame is seen again.
        window: latents that a prediction sees.
    """
    device = normalizer.action_mean.device
    seen = model.encode(normalizer.observation(clip.obs.to(device)))  # [T+1]
    actions = clip.actions.to(device)
    parts = [
        _from(model, seen, actions, start=start, count=every, window=window)
        for start in range(0, len(actions), every)
    ]
    alone = _from(model, seen, actions, start=0, count=len(actions), window=window)
    return Imagination(
        seen=seen,
        alone=concatenate([seen[:1], alone], dim=0),
        helped=concatenate([seen[:1], *parts], dim=0),
    )


def _from(
    model: WorldModel,
    seen: Latent,
    actions: Float[Tensor, "T A"],
    *,
    start: int,
    count: int,
    window: int,
) -> Latent:
    """Return latents of the `count` blocks after frame `start`, the frames before it being known."""
    first = max(0, start + 1 - window)
    context = Context(latents=seen[first : start + 1][None], actions=actions[first:start][None])
    ahead = actions[start : start + count][None]
    return model.rollout(context, ahead, window=window)[0]


@torch.no_grad()
def imagination_errors(
    imagined: Imagination, clip: Clip, *, decoder: LatentHead | None, probe: Probe | None
) -> list[StepErrors]:
    """Return the errors after 0, 1, ... blocks; the first are those of reading a real frame."""
    real = clip.obs.pixels.float().cpu()

    def latent(one: Latent) -> list[float]:
        return (one.tokens - imagined.seen.tokens).square().mean((-2, -1)).tolist()

    def picture(one: Latent) -> Sequence[float | None]:
        if decoder is None:
            return [None] * len(real)
        away = decoder.pixels(one).float().cpu() - real
        return away.square().mean((-3, -2, -1)).sqrt().tolist()

    def state(one: Latent) -> Sequence[float | None]:
        if probe is None or clip.states is None:
            return [None] * len(real)
        away = probe(one).double().cpu().numpy()[:, :2] - clip.states[:, :2]
        return [value if math.isfinite(value) else None for value in _lengths(away)]

    rows = zip(
        latent(imagined.alone),
        latent(imagined.helped),
        picture(imagined.alone),
        picture(imagined.helped),
        picture(imagined.seen),
        state(imagined.alone),
        state(imagined.helped),
        strict=True,
    )
    names = (
        *("latent", "latent_with_frames", "picture", "picture_with_frames", "picture_seen"),
        *("state", "state_with_frames"),
    )
    return [StepErrors(k=k, **dict(zip(names, row, strict=True))) for k, row in enumerate(rows)]


def _lengths(away: Float[np.ndarray, "n S"]) -> list[float]:
    return np.linalg.norm(away, axis=-1).tolist()
