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
from jepawm.types import Task

OSCILLATES = "oscillating at the goal"
LEFT = "past the goal"
SHORT = "short of the goal"
AWAY = "farther than at the start"
_NEAR = 0.25
"""Nearer than this part of the distance at the start is at the goal."""
_SWING, _RETURNS = 0.1, 3.0
"""An episode oscillates if the distance goes up and down by more than this part of the distance at
the start, and by this many times what remains of it."""


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


def where_stopped(
    distances: Float[np.ndarray, " T1"], *, solved: bool, beside: Sequence[str]
) -> str:
    """Say where a failed episode stopped; the first of these that holds.

    In circles at the goal: it came near or was there, and in the last third of the episode the
    distance rises and falls much more than it changes. Past the goal: it was there. Beside a place
    that the environment names. Else short of the goal, or farther from it than at the start.

    Args:
        distances: true distance to the goal `[T+1]`.
        solved: whether it was at the goal at some time.
        beside: what the last state is beside, by name.
    """
    start, end = float(distances[0]), float(distances[-1])
    tail = distances[-max(len(distances) // 3, 3) :]
    travelled = float(np.abs(np.diff(tail)).sum())
    swings = travelled > _SWING * start and travelled > _RETURNS * abs(end - float(tail[0]))
    if swings and (solved or float(tail.min()) < _NEAR * start):
        return OSCILLATES
    if solved:
        return LEFT
    if beside:
        return f"beside the {beside[0]}"
    return SHORT if end < start else AWAY
