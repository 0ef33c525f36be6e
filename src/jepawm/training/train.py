"""The training loop: batch, loss, step, log, checkpoint."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import cast

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.nn.utils import clip_grad_norm_

from jepawm.data.augmentation import AugmentationConfig, augment
from jepawm.data.episodes import EpisodeStore
from jepawm.data.features import KeptTokens
from jepawm.data.windows import Windows
from jepawm.errors import UserError
from jepawm.models.world_model import JEPAWorldModel
from jepawm.processes import is_first, mean_over_processes, process_rank, together
from jepawm.progress import lines
from jepawm.training.devices import Devices, hold_gradients
from jepawm.training.losses import Learner
from jepawm.training.optim import OptimConfig, batch_indices, set_schedule, step_generator
from jepawm.training.state import TrainState
from jepawm.training.validation import validate, warn_of_gaps
from jepawm.types import Observation

_FRAMES_AT_A_TIME = 256
"""Frames that are encoded at a time where the encoder stops learning."""


@dataclass(frozen=True, kw_only=True)
class LoopConfig:
    """How often the loop reports and saves."""

    log_every: int = 20
    """Steps between two rows of metrics.jsonl."""
    validate_every: int = 200
    """Steps between two validations."""
    save_every: int = 200
    """Steps between two checkpoints."""
    num_validation_windows: int = 512
    """Windows of held-out episodes in each validation."""
    keep_every: int | None = None
    """Steps between two checkpoints that stay, in `checkpoints/`, a multiple of `save_every`; None: only
    the last checkpoint stays."""

    def __post_init__(self) -> None:
        """Check ranges."""
        for name in ("log_every", "validate_every", "save_every", "num_validation_windows"):
            if getattr(self, name) < 1:
                raise UserError(f"loop.{name} = {getattr(self, name)} must be at least 1")
        if self.keep_every is not None and (
            self.keep_every < 1 or self.keep_every % self.save_every
        ):
            raise UserError(
                f"loop.keep_every = {self.keep_every} is not a multiple of loop.save_every = "
                f"{self.save_every}; a checkpoint is kept when it is saved"
            )


@dataclass(frozen=True, kw_only=True)
class LoopHooks:
    """What the loop calls; the run decides where logs and checkpoints go."""

    log: Callable[[int, Mapping[str, float]], None]
    """Takes the step and its metrics."""
    save: Callable[[], None]
    """Writes a checkpoint of the current state; all processes take part."""
    stop: Callable[[], bool]
    """Returns whether to save and stop after this step; the same in all processes."""


def train(
    state: TrainState,
    train_windows: Windows,
    *,
    val_windows: Windows | None,
    optim: OptimConfig,
    loop: LoopConfig,
    hooks: LoopHooks,
    seed: int,
    devices: Devices,
    augmentation: AugmentationConfig,
) -> None:
    """Train until `optim.num_steps`, from wherever the state is.

    Every random choice is a function of the seed and the step, so that a resumed run equals an
    uninterrupted one bit for bit on a CPU with the same number of threads. The batch of a step and
    the draws do not depend on the number of processes, each of which takes its slice; all call
    this together. Only dropout's masks differ from process to process.
    """
    learner = state.learner.train()
    start = perf_counter() - state.seconds
    while state.step < optim.num_steps:
        if train_windows.features is None and not optim.encoder_learns(state.step):
            tokens = stop_encoder(learner, train_windows.store, device=devices.device)
            train_windows = train_windows.with_tokens(tokens)
            val_windows = None if val_windows is None else val_windows.with_tokens(tokens)
        set_schedule(state.optimizer, optim, step=state.step)
        index = batch_indices(
            num_windows=len(train_windows),
            batch_size=optim.batch_size,
            seed=seed,
            step=state.step,
        )
        generator = step_generator(seed, state.step)
        dropout_seed = generator.initial_seed() + process_rank()
        torch.manual_seed(dropout_seed)  # dropout takes no generator of its own
        state.optimizer.zero_grad(set_to_none=True)
        parts = devices.parts(index)
        terms = _backward(state, train_windows, parts, devices, generator, augmentation)
        grad_norm = _descend(state, terms, optim)
        state.step += 1
        state.seconds = perf_counter() - start
        last = state.step == optim.num_steps
        stopped = hooks.stop()
        if state.step % loop.log_every == 0 or last:
            metrics = _metrics(terms, grad_norm, optim.learning_rate_at(state.step - 1))
            if val_windows is not None and (state.step % loop.validate_every == 0 or last):
                metrics |= validate(
                    learner,
                    val_windows,
                    num_windows=loop.num_validation_windows,
                    device=devices.device,
                )
                warn_of_gaps(metrics)
                learner.train()
            hooks.log(state.step, metrics)
        if state.step % loop.save_every == 0 or last or stopped:
            hooks.save()
        if stopped and not last:
            return


def stop_encoder(learner: Learner, store: EpisodeStore, *, device: torch.device) -> KeptTokens:
    """Freeze the encoder and return its tokens of all frames of the store, as planning sees them.

    With several processes all call this, and each keeps all tokens.
    """
    learner.eval()
    tokens = encode_frames(learner, store, device=device)
    learner.train()
    cast(nn.Module, learner.model.encoder).requires_grad_(requires_grad=False)
    return tokens


@torch.no_grad()
def encode_frames(
    model: JEPAWorldModel | Learner, store: EpisodeStore, *, device: torch.device
) -> KeptTokens:
    """Encode every frame of a store, in its order; tokens stay in memory, float32."""
    num_frames = store.manifest.num_frames
    parts = []
    starts = range(0, num_frames, _FRAMES_AT_A_TIME)
    for start in lines(starts, "encoding all frames", total=len(starts), shown=is_first()):
        rows = np.arange(start, min(start + _FRAMES_AT_A_TIME, num_frames))
        pixels = torch.from_numpy(store.frames(rows)).to(device)
        proprio = None  # tokens do not depend on it, models with proprioception ask for it
        if store.proprio is not None:
            proprio = torch.from_numpy(store.proprio[rows]).to(device)
        parts.append(model.encode(Observation(pixels=pixels, proprio=proprio)).tokens.cpu())
    return KeptTokens(array=torch.cat(parts))


def _backward(
    state: TrainState,
    windows: Windows,
    parts: Sequence[Int64[Tensor, " b"]],
    devices: Devices,
    generator: torch.Generator,
    augmentation: AugmentationConfig,
) -> dict[str, Tensor]:
    """Add up the gradients of the parts of a batch; returns the terms of the global batch."""
    sums: dict[str, Tensor] = {}
    for number, part in enumerate(parts, start=1):
        with together():
            batch = augment(
                windows.batch(part), augmentation, step_seed=generator.initial_seed(), indices=part
            ).to(devices.device)
        with hold_gradients(state.module, held=number < len(parts)):
            with devices.autocast():
                terms = state.module(batch, generator=generator)
            (terms["loss"] / len(parts)).backward()
        sums = {k: v.detach() + sums[k] if sums else v.detach() for k, v in terms.items()}
    return mean_over_processes({name: total / len(parts) for name, total in sums.items()})


def _descend(state: TrainState, terms: Mapping[str, Tensor], optim: OptimConfig) -> Tensor:
    """Take one optimiser step; returns the gradient norm before clipping."""
    _require_finite(terms["loss"], "loss", state.step + 1, terms)
    limit = optim.clip_norm if optim.clip_norm > 0 else math.inf
    grad_norm = clip_grad_norm_(state.learner.parameters(), limit)
    if isinstance(grad_norm, DTensor):
        grad_norm = grad_norm.full_tensor()
    _require_finite(grad_norm, "gradient", state.step + 1, terms)  # before it reaches the weights
    state.optimizer.step()
    return grad_norm


def _require_finite(value: Tensor, name: str, step: int, terms: Mapping[str, Tensor]) -> None:
    if not math.isfinite(value.item()):
        values = ", ".join(f"{term} {part.item():.3g}" for term, part in terms.items())
        raise UserError(
            f"the {name} became {value.item()} at step {step} ({values}); the last "
            "checkpoint is kept; lower optim.learning_rate or optim.clip_norm and train again"
        )


def _metrics(
    terms: Mapping[str, Tensor], grad_norm: Tensor, learning_rate: float
) -> dict[str, float]:
    metrics = {f"train/{name}": value.item() for name, value in terms.items()}
    return metrics | {"train/grad_norm": grad_norm.item(), "train/learning_rate": learning_rate}
