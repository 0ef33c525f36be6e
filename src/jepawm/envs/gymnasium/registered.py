"""What stands behind the registered ids: one copy for `gymnasium.make`, many for `make_vec`."""

from typing import Literal, cast

import numpy as np

from jepawm.contracts import Simulator
from jepawm.envs import build_env
from jepawm.envs.gymnasium.adapter import GymEnv, GymVectorEnv, Rewards

RenderMode = Literal["rgb_array"]


def make_single(*, env: str, image_size: int = 64, render_mode: RenderMode | None = None) -> GymEnv:
    """Make one copy; the reward is 1 at the goal and 0 elsewhere, and no episode ends there.

    Args:
        env: name of the environment.
        image_size: side of the pictures in pixels.
        render_mode: `rgb_array`, or None: only observations are drawn.
    """
    simulator = cast(Simulator, build_env(env, image_size=image_size))
    return GymEnv(simulator, rewards=_at_goal(simulator), render_mode=render_mode)


def make_vector(
    *,
    env: str,
    num_envs: int,
    image_size: int = 64,
    render_mode: RenderMode | None = None,
    max_episode_steps: int | None = None,
) -> GymVectorEnv:
    """Make copies in lockstep, as `make_single` makes one; all are cut off after the same step.

    Args:
        env: name of the environment.
        num_envs: number of copies.
        image_size: side of the pictures in pixels.
        render_mode: `rgb_array`, or None: only observations are drawn.
        max_episode_steps: steps after which all episodes are cut off; None: never.
    """
    simulator = cast(Simulator, build_env(env, image_size=image_size))
    return GymVectorEnv(
        simulator,
        num_envs,
        rewards=_at_goal(simulator),
        render_mode=render_mode,
        max_episode_steps=max_episode_steps,
    )


def _at_goal(env: Simulator) -> Rewards:
    return lambda: env.success().astype(np.float64)
