"""Measure agents on the tasks of a study: success, and what still differs where success is full."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float

from jepawm.contracts import Agent, Env, Simulator
from jepawm.data.windows import Windows
from jepawm.evaluation.episodes import Outcome, run_episodes
from jepawm.evaluation.seeds import reseed
from jepawm.models.world_model import JEPAWorldModel
from jepawm.protocol import Protocol
from jepawm.study.setup import Rules
from jepawm.training.regularizers import effective_rank
from jepawm.types import Context, Task

_BATCH = 64
_MOST_WINDOWS = 512
_DIGITS = 5


@dataclass(frozen=True, kw_only=True)
class TaskOutcomes:
    """What became of each task."""

    success: Bool[np.ndarray, " tasks"]
    """Whether the task is solved, as the protocol counts it."""
    distance: Float[np.ndarray, " tasks"]
    """Distance to the goal after the last step, in units of the state; NaN without states."""
    blocks: Float[np.ndarray, " tasks"]
    """Action blocks until the goal held for the first time at the end of one; one more than there are
    where it never did."""


@dataclass(frozen=True, kw_only=True)
class LatentErrors:
    """How well a model predicts on validation data."""

    over_copying: tuple[float, ...]
    """Mean squared error of the latent 1, 2, ... blocks ahead, over that of the last latent seen."""
    effective_rank: float
    """Directions that the latents use."""


def run_tasks(
    env: Env,
    tasks: Sequence[Task],
    *,
    agent: Agent,
    name: str,
    protocol: Protocol,
    rules: Rules,
    on_batch: Callable[[], None] = lambda: None,
) -> TaskOutcomes:
    """Run an agent on tasks as `evaluate` does: the same batches and random numbers, equal success.

    Args:
        env: the environment.
        tasks: the tasks.
        agent: who acts.
        name: name of its row, which decides its random numbers.
        protocol: rules of the episodes.
        rules: size of the batches and seed.
        on_batch: called after each batch.
    """
    parts: list[TaskOutcomes] = []
    for start in range(0, len(tasks), rules.tasks_per_batch):
        batch = tasks[start : start + rules.tasks_per_batch]
        numbers = range(start, start + len(batch))
        reseed(agent, name, seed=rules.task_seed, tasks=numbers)
        watch = _Watch(env, count=len(batch), protocol=protocol)
        outcome = run_episodes(env, batch, agent=agent, protocol=protocol, on_block=watch)
        parts.append(watch.outcomes(outcome))
        on_batch()
    return TaskOutcomes(
        success=np.concatenate([part.success for part in parts]),
        distance=np.concatenate([part.distance for part in parts]),
        blocks=np.concatenate([part.blocks for part in parts]),
    )


class _Watch:
    """Look at a batch of tasks after each action block."""

    def __init__(self, env: Env, *, count: int, protocol: Protocol) -> None:
        self._env = env
        self._protocol = protocol
        self._done = 0
        self._blocks = np.full(count, protocol.num_steps + 1.0)

    def __call__(self) -> None:
        self._done += 1
        first = self._env.success() & (self._blocks > self._protocol.num_steps)
        self._blocks[first] = self._done

    def outcomes(self, outcome: Outcome) -> TaskOutcomes:
        distance = np.full(len(self._blocks), np.nan)
        if isinstance(self._env, Simulator):
            squared = self._env.goal_distance(self._env.states()[:, None])[:, 0]  # [B]
            distance = np.sqrt(np.maximum(squared, 0.0))
        return TaskOutcomes(
            success=outcome.success(self._protocol), distance=distance, blocks=self._blocks
        )


def windows_needed(window: int, *, horizon: int, longest: int) -> tuple[int, int]:
    """Return the steps of windows to measure latent errors on, and the frames that a rollout sees.

    As many frames as the model's window are seen, fewer where episodes of `longest` blocks leave no
    room for `horizon` blocks after them.
    """
    horizon = min(horizon, longest)
    context = max(1, min(window, longest - horizon + 1))
    return context - 1 + horizon, context


@torch.no_grad()
def latent_errors(
    model: JEPAWorldModel, windows: Windows, *, context: int, device: torch.device
) -> LatentErrors:
    """Compare rollouts from `context` true frames with copies of the last of them."""
    count = min(_MOST_WINDOWS, len(windows))
    index = torch.arange(count) * len(windows) // count
    error, copied = 0.0, 0.0
    kept: list[torch.Tensor] = []
    for part in index.split(_BATCH):
        batch = windows.batch(part).to(device)
        latents = model.encode(batch.obs)  # [b, T+1]
        seen = Context(latents=latents[:, :context], actions=batch.actions[:, : context - 1])
        predicted = model.rollout(seen, batch.actions[:, context - 1 :])  # [b, H]
        wanted = latents.tokens[:, context:]
        last = latents.tokens[:, context - 1 : context]
        error = error + (predicted.tokens - wanted).square().mean((2, 3)).double().sum(0)
        copied = copied + (last - wanted).square().mean((2, 3)).double().sum(0)
        kept.append(latents.tokens[:, 0].flatten(1))
    ratio = torch.as_tensor(error) / torch.as_tensor(copied).clamp(min=1e-30)
    return LatentErrors(
        over_copying=tuple(rounded(value) for value in ratio.tolist()),
        effective_rank=rounded(effective_rank(torch.cat(kept))),
    )


def rounded(value: float) -> float:
    """Return a figure with the digits that rows keep."""
    return float(f"{value:.{_DIGITS}g}")
