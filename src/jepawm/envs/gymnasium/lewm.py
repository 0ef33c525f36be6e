"""The environments of LeWorldModel: its TwoRoom and Reacher from stable-worldmodel, OGBench's cube.

Goals lie some steps ahead on a way that starts where the task does, as in a recorded episode. Episodes
do not end at the goal, so that an evaluation can ask it to hold.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import gymnasium
import numpy as np
from jaxtyping import Float

from jepawm.envs.gymnasium.batch import GymnasiumBatch, ogbench
from jepawm.envs.gymnasium.goals import Snapshot, flatten, picture
from jepawm.errors import UserError, missing_extra, plain_text
from jepawm.types import Task

Drive = Callable[[gymnasium.Env, dict[str, object]], np.ndarray]
"""What acts on the way to a goal: takes the environment and what it said last."""


@dataclass(frozen=True, kw_only=True)
class AheadGoals:
    """Goals are what someone else reaches from the start in some steps.

    A task's start is the seed of the reset; its goal is the number of steps on the way from there.
    """

    drive: Callable[[gymnasium.Env], Drive]
    """Returns who acts on the way, for an environment whose action space is seeded."""
    tolerance: float
    """Largest difference at which the goal is reached, in units of the observation."""
    euclidean: bool
    """Compare the distance; or each number by itself."""
    num_compared: int = 2
    """First numbers of the observation, which are compared."""
    num_steps: int = 25
    """Steps from the start to the goal."""

    def draw(self, env: gymnasium.Env, seed: int) -> Task:
        """Draw a task."""
        del env
        return Task(start=(float(seed),), goal=(float(self.num_steps),))

    def start(self, env: gymnasium.Env, task: Task) -> Float[np.ndarray, " S"]:
        """Reset with the task's seed."""
        obs, _ = env.reset(seed=int(task.start[0]))
        return flatten(env, obs)

    def goal(self, env: gymnasium.Env, task: Task) -> Snapshot:
        """Walk the way."""
        seed = int(task.start[0])
        obs, info = env.reset(seed=seed)
        env.action_space.seed(seed)
        act = self.drive(env)
        for _ in range(int(task.goal[0])):
            obs, _, _, _, info = env.step(act(env, info))
        return Snapshot(picture=picture(env), vector=flatten(env, obs))

    def solved(
        self,
        vector: Float[np.ndarray, " S"],
        info: dict[str, object],
        *,
        start: Float[np.ndarray, " S"],
        goal: Float[np.ndarray, " S"],
    ) -> bool:
        """Compare with the goal; what the environment says is about a target of its own."""
        del info, start
        away = (vector - goal)[: self.num_compared]
        size = np.linalg.norm(away) if self.euclidean else np.abs(away).max()
        return bool(size < self.tolerance)


class Endless(gymnasium.Wrapper):
    """An environment that never ends by itself."""

    def step(self, action: np.ndarray) -> tuple:
        """Step; the target of the environment's own counts for nothing."""
        obs, reward, _, _, info = self.env.step(action)
        return obs, reward, False, False, info


def lewm(name: str) -> Callable[..., GymnasiumBatch]:
    """Return the builder of an environment of LeWorldModel: `lewm:tworoom`, `:reacher`, `:cube`."""
    if name == "cube":
        return ogbench("cube-single-v0")
    if name == "tworoom":
        goals = AheadGoals(drive=_expert, tolerance=16.0, euclidean=True)  # pixels of 224
        return partial(GymnasiumBatch, make=partial(_make, "swm/TwoRoom-v1"), goals=goals)
    if name == "reacher":
        goals = AheadGoals(drive=_random, tolerance=0.05, euclidean=False)  # radians
        make = partial(_make, "swm/ReacherDMControl-v0", task="qpos_match")
        return partial(GymnasiumBatch, make=make, goals=goals)
    raise UserError(
        f"LeWorldModel has no environment {plain_text(name)!r}; choose lewm:tworoom, lewm:reacher or "
        "lewm:cube (its Push-T is pusht)"
    )


def _make(name: str, *, task: str | None = None) -> gymnasium.Env:
    try:
        importlib.import_module("stable_worldmodel.envs")  # registers its environments
    except ImportError as error:
        raise missing_extra(
            "LeWorldModel's environments", error, package="stable_worldmodel", extra="lewm"
        ) from error
    try:
        settings = {} if task is None else {"task": task}
        made = gymnasium.make(name, disable_env_checker=True, **settings)  # pyright: ignore[reportArgumentType] (its own)
    except (gymnasium.error.Error, ImportError) as error:
        raise UserError(f"stable-worldmodel does not make {name} ({error})") from error
    return Endless(made.unwrapped)


def _expert(env: gymnasium.Env) -> Drive:
    """Return TwoRoom's own expert, on its way through the door to a target in the other room."""
    module = importlib.import_module("stable_worldmodel.envs.two_room.expert_policy")
    policy = module.ExpertPolicy()
    policy.set_env(env)

    def act(_: gymnasium.Env, info: dict[str, object]) -> np.ndarray:
        return policy.get_action(info)

    return act


def _random(env: gymnasium.Env) -> Drive:
    """Return random actions, each for five steps."""
    kept: list[np.ndarray] = []

    def act(_: gymnasium.Env, info: dict[str, object]) -> np.ndarray:
        del info
        if not kept:
            kept.extend([env.action_space.sample()] * 5)
        return kept.pop()

    return act
