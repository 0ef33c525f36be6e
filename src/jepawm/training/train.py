"""The training loop: batch, loss, step, log, checkpoint."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import perf_counter

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from jepawm.compute import count_gflop
from jepawm.data.windows import Windows
from jepawm.errors import UserError
from jepawm.training.objective import Learner
from jepawm.training.optim import OptimConfig, batch_indices, set_schedule, step_generator
from jepawm.training.state import TrainState
from jepawm.training.validation import validate
from jepawm.types import Trajectory


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

    def __post_init__(self) -> None:
        """Check ranges."""
        for name in ("log_every", "validate_every", "save_every", "num_validation_windows"):
            if getattr(self, name) < 1:
                raise UserError(f"loop.{name} = {getattr(self, name)} must be at least 1")


@dataclass(frozen=True, kw_only=True)
class LoopHooks:
    """What the loop calls; the run decides where logs and checkpoints go."""

    log: Callable[[int, Mapping[str, float]], None]
    """Takes the step and its metrics."""
    save: Callable[[], None]
    """Writes a checkpoint of the current state."""
    stop: Callable[[], bool]
    """Returns whether to save and stop after this step."""


def train(
    state: TrainState,
    train_windows: Windows,
    *,
    val_windows: Windows,
    optim: OptimConfig,
    loop: LoopConfig,
    hooks: LoopHooks,
    seed: int,
    device: torch.device,
) -> None:
    """Train until `optim.num_steps`, from wherever the state is.

    Every random choice is a function of the seed and the step, so that a resumed run equals an
    uninterrupted one bit for bit on a CPU with the same number of threads.

    Raises:
        UserError: if the loss is not finite; the last checkpoint stays.
    """
    learner = state.learner.train()
    start = perf_counter() - state.seconds
    while state.step < optim.num_steps:
        set_schedule(state.optimizer, optim, step=state.step)
        index = batch_indices(
            num_windows=len(train_windows),
            batch_size=optim.batch_size,
            seed=seed,
            step=state.step,
        )
        batch = train_windows.batch(index).to(device)
        generator = step_generator(seed, state.step)
        torch.manual_seed(generator.initial_seed())  # dropout takes no generator of its own
        terms = learner(batch, generator=generator)
        grad_norm = _descend(state, terms, optim)
        state.step += 1
        state.seconds = perf_counter() - start
        last = state.step == optim.num_steps
        stopped = hooks.stop()
        if state.step % loop.log_every == 0 or last:
            metrics = _metrics(terms, grad_norm, optim.learning_rate_at(state.step - 1))
            if state.step % loop.validate_every == 0 or last:
                metrics |= validate(
                    learner.model,
                    val_windows,
                    num_windows=loop.num_validation_windows,
                    device=device,
                )
                learner.train()
            hooks.log(state.step, metrics)
        if state.step % loop.save_every == 0 or last or stopped:
            hooks.save()
        if stopped and not last:
            return


def gflop_per_step(learner: Learner, batch: Trajectory) -> float:
    """Count the GFLOP of one step, forward and backward, on `batch`."""

    def step() -> None:
        learner(batch, generator=torch.Generator().manual_seed(0))["loss"].backward()

    gflop = count_gflop(step)
    learner.zero_grad(set_to_none=True)
    return gflop


def _descend(state: TrainState, terms: Mapping[str, Tensor], optim: OptimConfig) -> Tensor:
    """Take one optimiser step; returns the gradient norm before clipping."""
    loss = terms["loss"]
    _require_finite(loss, "loss", state.step + 1, terms)
    state.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    limit = optim.clip_norm if optim.clip_norm > 0 else math.inf
    grad_norm = clip_grad_norm_(state.learner.parameters(), limit)
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
