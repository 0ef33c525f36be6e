"""Train what reads pictures or states out of a frozen world model's latents.

A step draws frames from the training episodes, encodes them and compares what the head reads with what
was there. Only latents of observed frames are shown to it: what it makes of imagined ones is then the
world model's doing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from jepawm.data.episodes import EpisodeStore
from jepawm.decoding import DecodingConfig
from jepawm.errors import UserError
from jepawm.models.latent_heads import Kind, LatentHead, shape_of
from jepawm.models.world_model import JEPAWorldModel
from jepawm.normalizer import Normalizer
from jepawm.training.optim import OptimConfig, batch_indices, build_optimizer
from jepawm.training.parts import PartHooks, PartState, train_part
from jepawm.types import Latent, Observation

_SCALING_FRAMES = 1024
_WARMUP_STEPS = 50
_CHUNK = 64


class Frames:
    """Frames of some episodes of a store, and the states that go with them."""

    def __init__(
        self, store: EpisodeStore, *, episodes: Int64[np.ndarray, " n"], normalizer: Normalizer
    ) -> None:
        """Take the episodes."""
        self.store = store
        self.normalizer = normalizer
        spans = [
            np.arange(start, start + length)
            for start, length in zip(store.starts[episodes], store.lengths[episodes], strict=True)
        ]
        self.rows = np.concatenate(spans)

    def __len__(self) -> int:
        """Count the frames."""
        return len(self.rows)

    def spaced(self, count: int) -> Int64[Tensor, " n"]:
        """Return indices of at most `count` frames, evenly spaced over all."""
        count = min(count, len(self))
        return torch.arange(count) * len(self) // count

    def observations(self, index: Int64[Tensor, " b"]) -> Observation:
        """Read observations `[b]`, in environment units."""
        rows = self.rows[index.numpy()]
        proprio = self.store.proprio
        return Observation(
            pixels=torch.from_numpy(self.store.frames(rows)),
            proprio=None if proprio is None else torch.from_numpy(np.take(proprio, rows, axis=0)),
        )

    def read(
        self, index: Int64[Tensor, " b"], *, model: JEPAWorldModel, kind: Kind
    ) -> tuple[Latent, Float[Tensor, "b *output"]]:
        """Return latents `[b]`, and the pictures (0 to 255) or states that they should be read as."""
        device = self.normalizer.action_mean.device
        obs = self.observations(index).to(device)
        latents = model.encode(self.normalizer.observation(obs))
        if kind == "pixels":
            return latents, obs.pixels.float()
        if self.store.state is None:
            raise UserError(f"{self.store.path} holds no simulator states")
        states = np.take(self.store.state, self.rows[index.numpy()], axis=0)
        return latents, torch.from_numpy(states).float().to(device)


@dataclass(kw_only=True)
class HeadState(PartState):
    """What training a head changes."""

    head: LatentHead
    """The head."""
    change: float
    """Mean difference between a pixel and its mean over the frames, in pixels."""

    @property
    def module(self) -> LatentHead:
        """Return the head."""
        return self.head

    def tensors(self) -> dict[str, Tensor]:
        """Return by name what a resumption needs besides the weights."""
        return {**super().tensors(), "change": torch.tensor(self.change, dtype=torch.float64)}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Put back what `tensors` returned; the weights are loaded before."""
        if "change" not in tensors:
            raise UserError("the training state lacks change; train anew by --overwrite")
        super().restore(tensors)
        self.change = float(tensors["change"])


@torch.no_grad()
def new_head(
    model: JEPAWorldModel, frames: Frames, *, kind: Kind, config: DecodingConfig, seed: int
) -> HeadState:
    """Build a head for a world model; its units are those of some frames of the data."""
    index = frames.spaced(_SCALING_FRAMES)
    read = [frames.read(part, model=model, kind=kind) for part in index.split(_CHUNK)]
    targets = torch.cat([target for _, target in read])
    latents = Latent(
        tokens=torch.cat([one.tokens for one, _ in read]),
        proprio=None
        if read[0][0].proprio is None
        else torch.cat([one.proprio for one, _ in read if one.proprio is not None]),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        shape = shape_of(latents, grid=model.encoder.grid, kind=kind, target=targets)
        head = LatentHead(config, shape).to(targets.device)
    head.fit_scales(latents, targets)
    change = float((targets - head.output_mean).abs().mean())
    optimizer = build_optimizer(head, optim_of(config, kind=kind))
    return HeadState(head=head, optimizer=optimizer, change=max(change, 1e-3))


def reading_loss(
    state: HeadState,
    latents: Latent,
    *,
    targets: Float[Tensor, "b *output"],
    change_weight: float,
) -> Float[Tensor, ""]:
    """Return the mean squared error of what is read, in the head's units.

    Pixels count 1 and, in proportion to how far they are from the mean frame, `change_weight` more on
    average: a dot of ten pixels would be lost among thousands that never change.
    """
    head = state.head
    error = ((head(latents) - targets) / head.output_std).square()
    if head.shape.kind == "states":
        return error.mean()
    away = (targets - head.output_mean).abs().mean(1, keepdim=True) / state.change
    return (error * (1 + change_weight * away)).mean() / (1 + change_weight)


def train_head(
    state: HeadState,
    model: JEPAWorldModel,
    *,
    frames: Frames,
    config: DecodingConfig,
    seed: int,
    hooks: PartHooks,
) -> None:
    """Train to the end, from wherever the state is, or until a stop is asked for.

    Every random choice is a function of the seed and the step.
    """
    kind = state.head.shape.kind

    def terms_of(step: int) -> dict[str, Tensor]:
        index = batch_indices(
            num_windows=len(frames), batch_size=config.batch_size, seed=seed, step=step
        )
        with torch.no_grad():
            latents, targets = frames.read(index, model=model, kind=kind)
        return {
            "loss": reading_loss(
                state, latents, targets=targets, change_weight=config.change_weight
            )
        }

    train_part(
        state,
        terms_of,
        optim=optim_of(config, kind=kind),
        hooks=replace(
            hooks, log=lambda step, found: hooks.log(step, {"train/loss": found["loss"]})
        ),
        name=kind,
        check=", or check the world model by `jepawm eval`",
    )


@torch.no_grad()
def measure_pictures(
    head: LatentHead, model: JEPAWorldModel, *, frames: Frames, count: int
) -> float:
    """Return the peak signal-to-noise ratio of pictures of held-out frames, in dB, the mean over them."""
    found = []
    for part in frames.spaced(count).split(_CHUNK):
        latents, targets = frames.read(part, model=model, kind="pixels")
        error = (head.pixels(latents).float() - targets).square().mean((1, 2, 3))
        found.append(10 * torch.log10(255.0**2 / error.clamp(min=1e-4)))
    return float(torch.cat(found).mean())


@torch.no_grad()
def measure_states(
    head: LatentHead, model: JEPAWorldModel, *, frames: Frames, count: int
) -> list[float]:
    """Return the mean absolute error of each number of the states of held-out frames `[S]`."""
    found = []
    for part in frames.spaced(count).split(_CHUNK):
        latents, targets = frames.read(part, model=model, kind="states")
        found.append((head(latents) - targets).abs())
    return torch.cat(found).mean(0).tolist()


def optim_of(config: DecodingConfig, *, kind: Kind) -> OptimConfig:
    """Return the optimiser's settings."""
    num_steps = int(config.num_steps if kind == "pixels" else config.probe_steps)
    return OptimConfig(
        num_steps=max(1, num_steps),
        batch_size=config.batch_size,
        learning_rate=config.learning_rate,
        warmup_steps=min(_WARMUP_STEPS, max(1, num_steps)),
        weight_decay=1e-4,
        final_weight_decay=1e-4,
    )
