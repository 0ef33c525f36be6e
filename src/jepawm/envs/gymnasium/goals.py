"""Where the goals of a Gymnasium environment come from."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import gymnasium
import numpy as np
from jaxtyping import Float, UInt8

from jepawm.envs.gymnasium.guard import flatten, picture
from jepawm.errors import UserError
from jepawm.types import Task


@dataclass(frozen=True, kw_only=True, eq=False)
class Snapshot:
    """What is seen of an environment at one instant."""

    picture: UInt8[np.ndarray, "height width 3"]
    """What it renders."""
    vector: Float[np.ndarray, " S"]
    """Its observation, flattened."""


@runtime_checkable
class GoalSource(Protocol):
    """Draw tasks of an environment, start them, and say when one is solved."""

    def draw(self, env: gymnasium.Env, seed: int) -> Task:
        """Draw a task."""
        ...

    def start(self, env: gymnasium.Env, task: Task) -> Float[np.ndarray, " S"]:
        """Put the environment into a task's start; returns its observation, flattened."""
        ...

    def goal(self, env: gymnasium.Env, task: Task) -> Snapshot:
        """Return what the goal looks like; leaves the environment anywhere."""
        ...

    def solved(
        self,
        vector: Float[np.ndarray, " S"],
        info: dict[str, object],
        *,
        start: Float[np.ndarray, " S"],
        goal: Float[np.ndarray, " S"],
    ) -> bool:
        """Return whether an observation and what the environment said with it mean success."""
        ...


@dataclass(frozen=True, kw_only=True)
class RandomGoals:
    """Goals are what random actions lead to from the start, so that they can be reached.

    A task's start is the seed of the reset; its goal is the seed and the number of the actions.
    """

    num_steps: int = 50
    """Random actions from the start to the goal; fewer where the episode ends before."""
    tolerance: float = 0.1
    """Solved when the observation is nearer to the goal's than this part of the start's distance."""

    def draw(self, env: gymnasium.Env, seed: int) -> Task:
        """Draw a task; the goal is never an instant after the end of an episode."""
        self.start(env, Task(start=(float(seed),), goal=()))
        env.action_space.seed(seed)
        count = 0
        while count < self.num_steps:
            _, _, terminated, truncated, _ = env.step(env.action_space.sample())
            if terminated or truncated:
                break
            count += 1
        return Task(start=(float(seed),), goal=(float(seed), float(count)))

    def start(self, env: gymnasium.Env, task: Task) -> Float[np.ndarray, " S"]:
        """Reset with the task's seed."""
        obs, _ = env.reset(seed=int(task.start[0]))
        return flatten(env, obs)

    def goal(self, env: gymnasium.Env, task: Task) -> Snapshot:
        """Repeat the random actions."""
        vector = self.start(env, task)
        seed, count = (int(number) for number in task.goal)
        env.action_space.seed(seed)
        for _ in range(count):
            obs, *_ = env.step(env.action_space.sample())
            vector = flatten(env, obs)
        return Snapshot(picture=picture(env), vector=vector)

    def solved(
        self,
        vector: Float[np.ndarray, " S"],
        info: dict[str, object],
        *,
        start: Float[np.ndarray, " S"],
        goal: Float[np.ndarray, " S"],
    ) -> bool:
        """Compare distances; what the environment says plays no part."""
        del info
        near = self.tolerance * np.linalg.norm(start - goal)
        return bool(np.linalg.norm(vector - goal) <= near)


@dataclass(frozen=True, kw_only=True)
class ExpertGoals:
    """Goals are where the environment's own expert ends; success is the environment's own flag.

    A task's start is the seed of the reset; its goal is the number of the expert's actions.
    """

    num_steps: int = 150
    """Actions of the expert."""

    def draw(self, env: gymnasium.Env, seed: int) -> Task:
        """Draw a task."""
        del env
        return Task(start=(float(seed),), goal=(float(self.num_steps),))

    def start(self, env: gymnasium.Env, task: Task) -> Float[np.ndarray, " S"]:
        """Reset with the task's seed."""
        obs, _ = env.reset(seed=int(task.start[0]))
        return flatten(env, obs)

    def goal(self, env: gymnasium.Env, task: Task) -> Snapshot:
        """Follow the expert from the start."""
        expert = env.unwrapped
        if not isinstance(expert, HasExpert):
            raise UserError(f"{type(expert).__name__} has no method expert_action; choose goals")
        vector = self.start(env, task)
        for _ in range(int(task.goal[0])):
            obs, *_ = env.step(expert.expert_action())
            vector = flatten(env, obs)
        return Snapshot(picture=picture(env), vector=vector)

    def solved(
        self,
        vector: Float[np.ndarray, " S"],
        info: dict[str, object],
        *,
        start: Float[np.ndarray, " S"],
        goal: Float[np.ndarray, " S"],
    ) -> bool:
        """Return the environment's flag."""
        del vector, start, goal
        return bool(info.get("success", False))


@runtime_checkable
class HasExpert(Protocol):
    """An environment that knows what to do."""

    def expert_action(self) -> np.ndarray:
        """Return the expert's next action."""
        ...


@dataclass(frozen=True, kw_only=True)
class OGBenchGoals:
    """OGBench's own evaluation tasks: their goal pictures and their success flag.

    A task's start is the seed of the reset; its goal is OGBench's number of the task, 1 to 5.
    """

    num_tasks: int = 5
    """OGBench's tasks of each environment."""

    def draw(self, env: gymnasium.Env, seed: int) -> Task:
        """Draw one of the tasks."""
        del env
        number = int(np.random.default_rng(seed).integers(self.num_tasks)) + 1
        return Task(start=(float(seed),), goal=(float(number),))

    def start(self, env: gymnasium.Env, task: Task) -> Float[np.ndarray, " S"]:
        """Reset to the task."""
        obs, _ = self._reset(env, task)
        return flatten(env, obs)

    def goal(self, env: gymnasium.Env, task: Task) -> Snapshot:
        """Return OGBench's goal picture and goal observation."""
        _, info = self._reset(env, task)
        return Snapshot(
            picture=np.asarray(info["goal_rendered"]), vector=flatten(env, info["goal"])
        )

    def solved(
        self,
        vector: Float[np.ndarray, " S"],
        info: dict[str, object],
        *,
        start: Float[np.ndarray, " S"],
        goal: Float[np.ndarray, " S"],
    ) -> bool:
        """Return OGBench's flag."""
        del vector, start, goal
        return bool(info.get("success", False))  # a reset reports no success

    def _reset(self, env: gymnasium.Env, task: Task) -> tuple[object, dict[str, object]]:
        options = {"task_id": int(task.goal[0]), "render_goal": True}
        before = np.random.get_state()  # noqa: NPY002 - OGBench draws from the global generator
        np.random.seed(int(task.start[0]))  # noqa: NPY002
        try:
            return env.reset(seed=int(task.start[0]), options=options)
        finally:
            np.random.set_state(before)  # noqa: NPY002
