"""Where failed episodes stop: at the goal in circles, past it, beside a wall, short of it; counted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from jepawm.agent import PlanningAgent
from jepawm.contracts import KnowsPlaces, Simulator
from jepawm.evaluation.episodes import run_episodes
from jepawm.evaluation.metrics import wilson_interval
from jepawm.evaluation.rollouts import Recorder
from jepawm.evaluation.stops import where_stopped
from jepawm.types import Task


@dataclass(frozen=True, kw_only=True)
class Failure:
    """One task that was not solved."""

    task: int
    """Number of the task in the list."""
    where: str
    """Where it stopped."""
    start: float
    """True distance to the goal at the start."""
    least: float
    """Least true distance on the way."""
    end: float
    """True distance at the end."""


@dataclass(frozen=True, kw_only=True)
class Failures:
    """Where the failed episodes of the world model's agent stopped."""

    protocol: str
    """Name of the protocol."""
    planner: str
    """Planner, with its settings."""
    tasks: int
    """Tasks."""
    success: float
    """Success rate."""
    ci95: tuple[float, float]
    """Its 95 % Wilson interval."""
    counts: Mapping[str, int]
    """Failed tasks by where they stopped, most frequent first."""
    failures: tuple[Failure, ...]
    """Each of them."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Episodes:
    """What became of some tasks."""

    success: Bool[np.ndarray, " B"]
    """Whether each counts as solved."""
    distances: Float[np.ndarray, "B T1"]
    """True distance to the goal before each environment step and after the last."""
    solved: Bool[np.ndarray, " B"]
    """Whether each was at its goal at some time."""
    beside: Mapping[str, Bool[np.ndarray, " B"]]
    """What each stopped beside, by name."""


def watch_episodes(env: Simulator, tasks: Sequence[Task], *, agent: PlanningAgent) -> Episodes:
    """Run the agent on tasks under its own protocol, and look at the true states."""
    recorder = Recorder(num_tasks=len(tasks))
    outcome = run_episodes(env, tasks, agent=agent, protocol=agent.protocol, recorder=recorder)
    states = recorder.rollouts().states  # [B, T+1, S]
    beside = env.beside(states[:, -1]) if isinstance(env, KnowsPlaces) else {}
    return Episodes(
        success=outcome.success(agent.protocol),
        distances=np.sqrt(env.goal_distance(states)),
        solved=outcome.at_any_time,
        beside=beside,
    )


def summarize_failures(episodes: Sequence[Episodes], *, protocol: str, planner: str) -> Failures:
    """Say of each failed episode where it stopped, and count."""
    failures: list[Failure] = []
    first = num_solved = 0
    for batch in episodes:
        for index in np.flatnonzero(~batch.success):
            distances = batch.distances[index]
            beside = [name for name, there in batch.beside.items() if there[index]]
            failures.append(
                Failure(
                    task=first + int(index),
                    where=where_stopped(distances, solved=bool(batch.solved[index]), beside=beside),
                    start=float(distances[0]),
                    least=float(distances.min()),
                    end=float(distances[-1]),
                )
            )
        first += len(batch.success)
        num_solved += int(batch.success.sum())
    names = [failure.where for failure in failures]
    counts = {name: names.count(name) for name in sorted(set(names))}
    return Failures(
        protocol=protocol,
        planner=planner,
        tasks=first,
        success=num_solved / first,
        ci95=wilson_interval(num_solved, first),
        counts=dict(sorted(counts.items(), key=lambda one: -one[1])),
        failures=tuple(failures),
    )
