"""What a protocol counts as being at the goal: held, on a way without tunnels, of the object alone."""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Bool

from jepawm.contracts import Env, Simulator
from jepawm.errors import UserError
from jepawm.protocol import KnowsObject, KnowsWalls, Protocol
from jepawm.types import Task

_TASKS_AT_ONCE, _MOST_DRAWN = 64, 64


class Reading:
    """Read the success of a batch of episodes, step by step."""

    def __init__(self, env: Env, protocol: Protocol) -> None:
        """Take the environment, in the starts of its tasks."""
        require_reading(env, protocol)
        self._env, self._protocol = env, protocol
        self._sweep = _Sweep(env) if protocol.swept and isinstance(env, Simulator) else None
        self._held: np.ndarray | int = 0  # steps in a row at the goal

    def step(self) -> Bool[np.ndarray, " B"]:
        """Return after an environment step whose goal holds, for as long as it must."""
        at_goal = at_goals(self._env, self._protocol)
        if self._sweep is not None:
            at_goal = at_goal & ~self._sweep.step()
        self._held = np.where(at_goal, self._held + 1, 0)
        return np.asarray(self._held >= self._protocol.hold_steps)


class _Sweep:
    """Which episodes have passed through a wall so far."""

    def __init__(self, env: Simulator) -> None:
        self._env = env
        self._states = env.states()
        self._passed = np.zeros(len(self._states), dtype=np.bool_)

    def step(self) -> Bool[np.ndarray, " B"]:
        """Look at the way since the last step."""
        assert isinstance(self._env, KnowsWalls)
        before, self._states = self._states, self._env.states()
        self._passed = self._passed | self._env.tunnels(before, self._states)
        return self._passed


def require_reading(env: Env, protocol: Protocol) -> None:
    """Refuse a reading that an environment does not know."""
    name = type(env).__name__
    if protocol.swept and not (isinstance(env, Simulator) and isinstance(env, KnowsWalls)):
        raise UserError(
            f"protocol.swept asks for walls, and {name} says nothing of any (a method `tunnels`); "
            "leave out --swept"
        )
    if protocol.object_only and not isinstance(env, KnowsObject):
        raise UserError(
            f"protocol.object_only asks for an object apart from what moves it, and {name} knows "
            "none (a method `object_success`); leave out --object-only"
        )


def at_goals(env: Env, protocol: Protocol) -> Bool[np.ndarray, " B"]:
    """Return whether the goal that the protocol counts holds now."""
    if protocol.object_only and isinstance(env, KnowsObject):
        return env.object_success()
    return env.success()


def unsolved_tasks(
    env: Env, draw: Callable[[int], list[Task]], *, num_tasks: int, protocol: Protocol
) -> list[Task]:
    """Draw tasks, without those that start solved as the protocol reads it.

    `draw` gives so many tasks; where it is asked for more, they begin with the same ones.
    """
    require_reading(env, protocol)
    drawn = num_tasks
    tasks = draw(drawn)
    while protocol.object_only:
        kept = _unsolved(env, tasks, protocol)
        if len(kept) >= num_tasks:
            return kept[:num_tasks]
        if drawn >= _MOST_DRAWN * num_tasks:
            raise UserError(
                f"of {drawn} tasks of {type(env).__name__} only {len(kept)} do not start with the "
                "object at its goal; give fewer --episodes, or leave out --object-only"
            )
        drawn *= 2
        tasks = draw(drawn)
    return tasks


def _unsolved(env: Env, tasks: Sequence[Task], protocol: Protocol) -> list[Task]:
    kept: list[Task] = []
    for first in range(0, len(tasks), _TASKS_AT_ONCE):
        batch = tasks[first : first + _TASKS_AT_ONCE]
        env.reset(batch)
        starts = zip(batch, at_goals(env, protocol), strict=True)
        kept += [task for task, at_goal in starts if not at_goal]
    return kept
