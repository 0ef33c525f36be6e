"""The training loop: batch, loss, step, log, checkpoint."""

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from jepawm.data.augmentation import AugmentationConfig
from jepawm.data.episodes import EpisodeStore
from jepawm.data.features import KeptTokens
from jepawm.data.mixture import mixture_of
from jepawm.data.windows import Windows
from jepawm.errors import UserError, require_range, show
from jepawm.models.world_model import JEPAWorldModel
from jepawm.processes import (
    count_processes,
    from_first,
    is_first,
    is_sharded,
    mean_over_processes,
    process_rank,
)
from jepawm.progress import lines
from jepawm.training.accumulation import backward_of_whole
from jepawm.training.batches import Batches, Part, worker_count
from jepawm.training.devices import Devices, hold_gradients
from jepawm.training.finite import FiniteCheck
from jepawm.training.losses import Learner
from jepawm.training.optim import OptimConfig, batch_indices, set_schedule, step_generator
from jepawm.training.state import TrainState, with_weights_to_use
from jepawm.training.validation import validate, warn_of_gaps
from jepawm.types import Observation

_FRAMES_AT_A_TIME = 256
"""Frames that are encoded at a time where the encoder stops learning."""
_ASK_EVERY = 5
"""Steps between two questions to all processes whether one of them was asked to stop."""
_MOST_WORKERS, _MOST_RECOVERIES = 128, 1000
_BEST = re.compile(r"val/(prediction|rollout|prediction_k[1-9][0-9]*)")


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
    num_workers: int | None = None
    """Processes that read, decode and augment the batches of coming steps, for each training process;
    None: where a GPU takes the steps one for each core, at most 8, and none elsewhere."""
    num_ahead: int = 2
    """Batches that each of them has ready."""
    recoveries: int = 0
    """How often a training goes back to its last checkpoint where a loss or a gradient is not finite,
    and leaves out the batch of that step; 0: it stops."""
    keep_every: int | None = None
    """Steps between two checkpoints that stay, in `checkpoints/`, a multiple of `save_every`; None: only
    the last checkpoint stays."""
    keep_last: int | None = None
    """How many of them stay, the newest ones; None: all."""
    keep_best: str | None = None
    """Metric of validation, such as `val/prediction_k3`, of whose lowest value a checkpoint stays in
    `best/`; None: none."""

    def __post_init__(self) -> None:
        """Check ranges."""
        for name in (
            "log_every",
            "validate_every",
            "save_every",
            "num_validation_windows",
            "num_ahead",
        ):
            if getattr(self, name) < 1:
                raise UserError(f"loop.{name} = {getattr(self, name)} must be at least 1")
        if self.num_workers is not None and not 0 <= self.num_workers <= _MOST_WORKERS:
            raise UserError(f"loop.num_workers = {self.num_workers}; give 0 to {_MOST_WORKERS}")
        require_range(self, ("recoveries",), where="loop", least=0, most=_MOST_RECOVERIES)
        if self.keep_best is not None and not _BEST.fullmatch(self.keep_best):
            raise UserError(
                f"loop.keep_best = {show(self.keep_best)} is no error of validation; give "
                "val/prediction, val/rollout, or val/prediction_k1 and on for k steps ahead"
            )
        if self.keep_every is not None and (
            self.keep_every < 1 or self.keep_every % self.save_every
        ):
            raise UserError(
                f"loop.keep_every = {self.keep_every} is not a multiple of loop.save_every = "
                f"{self.save_every}; a checkpoint is kept when it is saved"
            )
        if self.keep_last is not None and (self.keep_last < 1 or self.keep_every is None):
            raise UserError(
                f"loop.keep_last = {self.keep_last} is how many of the checkpoints of loop.keep_every "
                "stay; set that too, and give at least 1"
            )


@dataclass(frozen=True, kw_only=True)
class LoopHooks:
    """What the loop calls; the run decides where logs and checkpoints go."""

    log: Callable[[int, Mapping[str, float]], None]
    """Takes the step and its metrics."""
    save: Callable[[], None]
    """Writes a checkpoint of the current state; all processes take part."""
    save_best: Callable[[], None]
    """Writes the weights of a validation better than all before; all processes take part."""
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
    check = FiniteCheck(late=devices.device.type != "cpu")
    ask_every = 1 if count_processes() == 1 else _ASK_EVERY
    while state.step < optim.num_steps:
        if train_windows.features is None and not optim.encoder_learns(state.step):
            if state.average is not None and state.step == optim.encoder_steps:
                state.average.start_anew()  # the predictor learns on from tokens of these weights
            tokens = stop_encoder(learner, train_windows.store, device=devices.device)
            train_windows = train_windows.with_tokens(tokens)
            val_windows = None if val_windows is None else val_windows.with_tokens(tokens)
        steps = range(state.step, optim.end_of_phase(state.step))
        learned = (step for step in steps if step not in state.left_out)
        parts = _parts(train_windows, learned, optim, devices, seed=seed)
        with _open_batches(train_windows, parts, loop, devices, augmentation) as batches:
            for _ in steps:
                terms: dict[str, Tensor] = {}
                if state.step not in state.left_out:
                    terms = take_step(
                        state, batches, optim=optim, devices=devices, check=check, seed=seed
                    )
                state.step += 1
                state.seconds = perf_counter() - start
                state.seconds_waited += batches.take_seconds_waited()
                last = state.step == optim.num_steps
                stopped = state.step % ask_every == 0 and hooks.stop()
                if state.step % loop.log_every == 0 or last:
                    metrics = _metrics(state, terms, optim, loop, check)
                    if val_windows is not None and (state.step % loop.validate_every == 0 or last):
                        metrics |= _validated(state, val_windows, loop, devices)
                        if _is_best(state, metrics, loop.keep_best):
                            hooks.save_best()
                    hooks.log(state.step, metrics)
                if state.step % loop.save_every == 0 or last or stopped:
                    check.settle()
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


def take_step(
    state: TrainState,
    batches: Batches,
    *,
    optim: OptimConfig,
    devices: Devices,
    check: FiniteCheck,
    seed: int,
) -> dict[str, Tensor]:
    """Take one step; returns its terms in this process, and `grad_norm`, before clipping."""
    set_schedule(state.optimizer, optim, step=state.step)
    generator = step_generator(seed, state.step)
    torch.manual_seed(generator.initial_seed() + process_rank())  # dropout takes no generator
    state.optimizer.zero_grad(set_to_none=True)
    terms = _backward(state, batches, devices, generator)
    limit = optim.clip_norm if optim.clip_norm > 0 else math.inf
    grad_norm = clip_grad_norm_(state.learner.parameters(), limit)
    if is_sharded(grad_norm):
        grad_norm = grad_norm.full_tensor()
    check.note(state.step + 1, terms, grad_norm=grad_norm)
    state.optimizer.step()
    if state.average is not None:
        state.average.update(optim.ema_decay_at(state.step))
    return {**terms, "grad_norm": grad_norm}


def _backward(
    state: TrainState, batches: Batches, devices: Devices, generator: torch.Generator
) -> dict[str, Tensor]:
    """Add up the gradients of the parts of a batch; returns the terms of this process's share."""
    sums: dict[str, Tensor] = {}
    num_parts = devices.config.accumulate
    if num_parts > 1 and devices.config.accumulate_statistics == "batch":
        batch = [next(batches) for _ in range(num_parts)]
        with hold_gradients(state.module, held=True):
            return backward_of_whole(
                state.learner, batch, generator=generator, autocast=devices.autocast
            )
    for number in range(1, num_parts + 1):
        batch = next(batches)
        with hold_gradients(state.module, held=number < num_parts):
            with devices.autocast():
                terms = state.module(batch, generator=generator)
            (terms["loss"] / num_parts).backward()
        sums = {k: v.detach() + sums[k] if sums else v.detach() for k, v in terms.items()}
    return {name: total / num_parts for name, total in sums.items()}


def _metrics(
    state: TrainState,
    terms: Mapping[str, Tensor],
    optim: OptimConfig,
    loop: LoopConfig,
    check: FiniteCheck,
) -> dict[str, float]:
    """Return what is logged, means over all processes; the device is waited for once.

    A step whose batch is left out has no terms.
    """
    metrics = {"train/learning_rate": optim.learning_rate_at(state.step - 1)}
    if loop.recoveries:
        metrics["train/recoveries"] = float(sum(one < state.step for one in state.left_out))
    if not terms:
        check.settle()
        return metrics
    means = mean_over_processes(terms)
    values = check.read(torch.stack(list(means.values())))
    return {f"train/{k}": value for k, value in zip(means, values, strict=True)} | metrics


def _validated(
    state: TrainState, windows: Windows, loop: LoopConfig, devices: Devices
) -> dict[str, float]:
    """Validate between two steps what a checkpoint would hold, and warn of what looks wrong."""
    count = loop.num_validation_windows
    with with_weights_to_use(state):
        metrics = validate(state.learner, windows, num_windows=count, device=devices.device)
    warn_of_gaps(metrics)
    state.learner.train()
    return metrics


def _is_best(state: TrainState, metrics: Mapping[str, float], name: str | None) -> bool:
    """Return whether a validation is better than all before, and note its value.

    The first process decides: what others compute may differ by rounding.
    """
    if name is None:
        return False
    found = metrics[name]
    better = from_first(lambda: found < state.best)
    state.best = found if better else state.best
    return better


def _open_batches(
    windows: Windows,
    parts: Iterator[Part],
    loop: LoopConfig,
    devices: Devices,
    augmentation: AugmentationConfig,
) -> Batches:
    """Start to read this process's share of the batches; tokens in memory need nobody ahead."""
    num_workers = worker_count(
        loop.num_workers, device=devices.device, num_processes=count_processes()
    )
    return Batches(
        windows,
        parts,
        augmentation=augmentation,
        device=devices.device,
        num_workers=0 if isinstance(windows.features, KeptTokens) else num_workers,
        num_ahead=loop.num_ahead,
    )


def _parts(
    windows: Windows, steps: Iterable[int], optim: OptimConfig, devices: Devices, *, seed: int
) -> Iterator[Part]:
    mixture, size = mixture_of(windows), optim.batch_size
    for step in steps:
        step_seed = step_generator(seed, step).initial_seed()
        if mixture is None:
            index = batch_indices(num_windows=len(windows), batch_size=size, seed=seed, step=step)
        else:
            index = mixture.draw(size, generator=step_generator(seed, step))
        for part in devices.parts(index):
            yield Part(seed=step_seed, indices=part)
