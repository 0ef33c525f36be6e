"""Any Gymnasium environment with pictures as a batch: the way opposite to `gymnasium_env.py`.

Gymnasium has no way to set a state, so a state is a seed and the actions since: episodes are
repeated, never copied. That is exact for every environment whose reset takes a seed.
"""

import atexit
import importlib
import logging
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import gymnasium
import numpy as np
import torch
import torch.nn.functional as F
from gymnasium import spaces
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from jepawm.envs.gymnasium.goals import (
    GoalSource,
    OGBenchGoals,
    RandomGoals,
    Snapshot,
)
from jepawm.envs.gymnasium.guard import flatten, make_guarded, name_of, picture
from jepawm.errors import UserError, missing_extra
from jepawm.registry import others_code
from jepawm.types import Observation, Task

_MOST_SOLVED = 100
"""Tasks in a row that may be solved at their start."""
_LOG = logging.getLogger(__name__)


@dataclass(kw_only=True, eq=False)
class _Episode:
    """One copy and all that happened to it."""

    task: Task
    env: gymnasium.Env
    goal: Snapshot
    start: np.ndarray
    vector: np.ndarray
    solved: bool = False
    over: bool = False
    actions: list[np.ndarray] = field(default_factory=list)


class GymnasiumBatch:
    """Step `B` copies of a Gymnasium environment, one after the other.

    Satisfies `contracts.Simulator`. Actions are numbers from -1 to 1 for each dimension of a box
    (stretched to its bounds and clipped), or one for each choice, of which the highest is taken.
    States are the observations, flattened: they describe, but cannot be set; a task's start is the
    seed of a reset. A copy whose episode has ended stays as it is. There is no proprioception.
    """

    proprio_dim = 0
    state_to_pixel = None

    def __init__(
        self,
        image_size: int = 64,
        *,
        make: Callable[[], gymnasium.Env],
        goals: GoalSource | None = None,
    ) -> None:
        """Take the side of the images in pixels, what makes a copy, and where goals come from.

        Copies need the render mode `rgb_array`. Without `goals` they are `RandomGoals()`.
        """
        if image_size < 1:
            raise UserError(f"image_size = {image_size}; give at least 1")
        self.image_size = image_size
        self._make = partial(make_guarded, make)
        self._goals = RandomGoals() if goals is None else goals
        self._shadow = self._make()  # for goals and for `simulate`
        self._to_env, self.action_dim = _action_map(self._shadow.action_space)
        first, second = (flatten(self._shadow, self._shadow.reset(seed=0)[0]) for _ in range(2))
        if not np.array_equal(first, second, equal_nan=True):
            _LOG.warning(
                "%s: reset(seed=0) starts elsewhere each time, so that no task or goal can be "
                "repeated; let reset call super().reset(seed=seed) and draw from self.np_random",
                name_of(self._shadow),
            )
        self.state_dim = len(first)
        picture(self._shadow)
        self._copies: list[gymnasium.Env] = []
        # Before OpenGL ends its display, which it registered when the first picture was drawn.
        atexit.register(_close, weakref.ref(self))
        self._episodes: list[_Episode] = []

    def close(self) -> None:
        """Close all copies; they draw no more."""
        for env in (self._shadow, *self._copies):
            env.close()

    def sample_tasks(self, seed: int, *, num_tasks: int) -> list[Task]:
        """Draw tasks; the same seed gives the same list, none starts solved."""
        tasks: list[Task] = []
        draw = solved = 0
        while len(tasks) < num_tasks:
            task = self._goals.draw(self._shadow, _word(seed, draw))
            draw += 1
            if not self._begin(task, self._shadow).solved:
                tasks.append(task)
                solved = 0
                continue
            solved += 1
            if solved == _MOST_SOLVED:
                raise UserError(
                    f"{name_of(self._shadow)}: {solved} tasks in a row were solved at their start: "
                    "random actions do not change the observation, or the first step ends the "
                    "episode; give goals of your own (GymnasiumBatch(goals=...))"
                )
        return tasks

    def sample_starts(self, seed: int, *, num_tasks: int) -> list[Task]:
        """Draw tasks of which only the start counts, as a collection needs; goals are the starts."""
        if not isinstance(self._goals, RandomGoals):
            return self.sample_tasks(seed, num_tasks=num_tasks)
        words = [float(_word(seed, draw)) for draw in range(num_tasks)]
        return [Task(start=(word,), goal=(word, 0.0)) for word in words]

    def steps_to_end(self, task: Task, actions: Float[np.ndarray, "T a"]) -> int:
        """Return after how many of the actions `[T, a]` the episode ends, at most all of them."""
        vector = self._goals.start(self._shadow, task)
        goal = Snapshot(picture=np.zeros((1, 1, 3), np.uint8), vector=vector)
        episode = _Episode(task=task, env=self._shadow, goal=goal, start=vector, vector=vector)
        for step, action in enumerate(actions, start=1):
            self._advance(episode, action)
            if episode.over:
                return step
        return len(actions)

    def reset(self, tasks: Sequence[Task]) -> Observation:
        """Put copy i into the start of task i; returns observations `[B]`."""
        if not tasks:
            raise UserError("there are no tasks to reset to; give at least 1")
        while len(self._copies) < len(tasks):
            self._copies.append(self._make())
        copies = self._copies[: len(tasks)]
        self._episodes = [self._begin(task, env) for task, env in zip(tasks, copies, strict=True)]
        return self._observe([picture(episode.env) for episode in self._episodes])

    def goal_observation(self) -> Observation:
        """Return observations `[B]` of the goals of the current tasks."""
        return self._observe([episode.goal.picture for episode in self._episodes])

    def step(self, actions: Float[np.ndarray, "B a"]) -> Observation:
        """Apply one action to each copy whose episode has not ended; returns observations `[B]`."""
        self._check_actions(actions, num_axes=2)
        for episode, action in zip(self._episodes, actions, strict=True):
            self._advance(episode, action)
        return self._observe([picture(episode.env) for episode in self._episodes])

    def states(self) -> Float[np.ndarray, "B S"]:
        """Return the flattened observations `[B, S]`."""
        return np.array([one.vector for one in self._episodes]).reshape(-1, self.state_dim)

    def success(self) -> Bool[np.ndarray, " B"]:
        """Return whether each copy is at its goal now."""
        return np.array([episode.solved for episode in self._episodes], dtype=np.bool_)

    def simulate(self, actions: Float[np.ndarray, "B K T a"]) -> Float[np.ndarray, "B K T S"]:
        """Return the states `[B, K, T, S]` that actions would lead to; changes nothing.

        Every candidate repeats its episode from the reset: slow, but exact.
        """
        self._check_actions(actions, num_axes=4)
        states = np.empty((*actions.shape[:3], self.state_dim))
        for b, episode in enumerate(self._episodes):
            for k, candidate in enumerate(actions[b]):
                vector = self._goals.start(self._shadow, episode.task)
                replay = _Episode(
                    task=episode.task,
                    env=self._shadow,
                    goal=episode.goal,
                    start=vector,
                    vector=vector,
                )
                for action in episode.actions:
                    self._advance(replay, action)
                for t, action in enumerate(candidate):
                    self._advance(replay, action)
                    states[b, k, t] = replay.vector
        return states

    def goal_distance(self, states: Float[np.ndarray, "B K S"]) -> Float[np.ndarray, "B K"]:
        """Return the squared distance `[B, K]` of states to the goals' observations."""
        goals = np.array([episode.goal.vector for episode in self._episodes])
        return ((states - goals[:, None]) ** 2).sum(-1)

    def _begin(self, task: Task, env: gymnasium.Env) -> _Episode:
        goal = self._goals.goal(env, task)
        start = self._goals.start(env, task)
        episode = _Episode(task=task, env=env, goal=goal, start=start, vector=start)
        episode.solved = self._goals.solved(start, {}, start=start, goal=goal.vector)
        return episode

    def _advance(self, episode: _Episode, action: Float[np.ndarray, " a"]) -> None:
        if episode.over:
            return
        obs, _, terminated, truncated, info = episode.env.step(self._to_env(action))
        episode.actions.append(action)
        episode.vector = flatten(episode.env, obs)
        episode.over = bool(terminated or truncated)
        episode.solved = self._goals.solved(
            episode.vector, info, start=episode.start, goal=episode.goal.vector
        )

    def _observe(self, pictures: Sequence[UInt8[np.ndarray, "_ _ 3"]]) -> Observation:
        pixels = torch.stack([_resize(frame, self.image_size) for frame in pictures])
        return Observation(pixels=pixels, proprio=None)

    def _check_actions(self, actions: np.ndarray, *, num_axes: int) -> None:
        batch, width = len(self._episodes), self.action_dim
        if actions.ndim != num_axes or len(actions) != batch or actions.shape[-1] != width:
            raise UserError(
                f"actions have shape {actions.shape}, but there are {batch} copies and an action "
                f"has {width} numbers; reset(tasks) sets the number of copies"
            )
        if not np.isfinite(actions).all():
            raise UserError("actions are not finite; check the policy")


def gym(name: str) -> Callable[..., GymnasiumBatch]:
    """Return the builder of a registered Gymnasium environment: `gym:ID`."""
    return partial(GymnasiumBatch, make=partial(_make, name))


def ogbench(name: str) -> Callable[..., GymnasiumBatch]:
    """Return the builder of an environment of OGBench with its own tasks: `ogbench:ID`."""
    return partial(GymnasiumBatch, make=partial(_make_ogbench, name), goals=OGBenchGoals())


def _word(seed: int, draw: int) -> int:
    """Return the seed of a draw."""
    return int(np.random.SeedSequence((seed, draw)).generate_state(1)[0]) >> 1


def _make(name: str) -> gymnasium.Env:
    try:
        with others_code(f"environment {name!r}"):
            return gymnasium.make(name, render_mode="rgb_array")
    except UserError as error:
        if not isinstance(error.__cause__, gymnasium.error.Error | ImportError | ValueError):
            raise
        raise UserError(
            f"Gymnasium does not make {name!r} ({error.__cause__}); choose another, or import the "
            "package that registers it by MODULE:ID"
        ) from error.__cause__


def _make_ogbench(name: str) -> gymnasium.Env:
    try:
        importlib.import_module("ogbench")  # registers its environments
    except ImportError as error:
        raise missing_extra("OGBench", error, package="ogbench", extra="ogbench") from error
    return _make(name)


def _action_map(
    space: spaces.Space,
) -> tuple[Callable[[Float[np.ndarray, " a"]], np.ndarray | int], int]:
    """Return what turns our actions into the environment's, and their width."""
    if isinstance(space, spaces.Discrete):
        first = int(space.start)
        return lambda action: first + int(np.argmax(action)), int(space.n)
    if not isinstance(space, spaces.Box) or len(space.shape) != 1:
        raise UserError(f"actions of the kind {space} are not supported; a box or a choice is")
    low, high = space.low.astype(np.float64), space.high.astype(np.float64)
    bounded = np.isfinite(low) & np.isfinite(high)
    middle, half = np.zeros(space.shape), np.ones(space.shape)
    middle[bounded] = (high + low)[bounded] / 2
    half[bounded] = (high - low)[bounded] / 2

    def to_box(action: Float[np.ndarray, " a"]) -> np.ndarray:
        return (middle + half * action).clip(low, high).astype(space.dtype)

    return to_box, space.shape[0]


def _resize(frame: UInt8[np.ndarray, "_ _ 3"], size: int) -> UInt8[Tensor, "3 height width"]:
    pixels = torch.from_numpy(np.ascontiguousarray(frame)).permute(2, 0, 1)
    if pixels.shape[1:] == (size, size):
        return pixels
    smooth = F.interpolate(
        pixels[None].float(), (size, size), mode="bilinear", align_corners=False, antialias=True
    )
    return smooth[0].round().clamp(0, 255).to(torch.uint8)


def _close(batch: "weakref.ref[GymnasiumBatch]") -> None:
    alive = batch()
    if alive is not None:
        alive.close()
