"""Environments of jepawm as LeRobot makes them: pictures of now and of the goal, task by seed."""

from dataclasses import dataclass, field
from typing import Any

import gymnasium
import numpy as np
from lerobot.configs.types import FeatureType, PolicyFeature
from lerobot.envs.configs import EnvConfig
from lerobot.utils.constants import ACTION, OBS_ENV_STATE, OBS_IMAGES, OBS_STATE

from jepawm.envs import build_env
from jepawm.protocol import draw_tasks
from jepawm.types import Observation

PACKAGE = "lerobot_env_jepawm"
NUM_TASKS = 96
"""Tasks of the list; a seed stands for the task of that number, counted around."""


class TaskEnv(gymnasium.Env):
    """One copy of an environment of jepawm, with a picture of the goal in every observation.

    `reset(seed=n)` begins task `n mod 96` of the test split of `jepawm eval` at seed `task_seed`.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012 (Gymnasium's own way)

    def __init__(
        self,
        *,
        env: str,
        image_size: int = 64,
        task_seed: int = 0,
        render_mode: str | None = "rgb_array",
    ) -> None:
        """Take the name of the environment, the side of its pictures, and the list of tasks."""
        self._env = build_env(env, image_size=image_size)
        self._tasks = draw_tasks(self._env, num_tasks=NUM_TASKS, seed=task_seed, split="test")
        self._next = 0
        self._seen: Observation | None = None
        self._goal: Observation | None = None
        self.render_mode = render_mode
        self.task = env
        self.task_description = f"reach the picture of the goal in {env}"
        picture = gymnasium.spaces.Box(0, 255, (image_size, image_size, 3), np.uint8)
        state = gymnasium.spaces.Box(-np.inf, np.inf, (max(self._env.proprio_dim, 1),), np.float32)
        self.observation_space = gymnasium.spaces.Dict(
            {
                "pixels": gymnasium.spaces.Dict({"image": picture, "goal": picture}),
                "agent_pos": state,
                "environment_state": state,
            }
        )
        self.action_space = gymnasium.spaces.Box(
            -np.inf, np.inf, (self._env.action_dim,), np.float32
        )

    def reset(
        self,
        *,
        seed: int | None = None,
        options: dict[str, Any] | None = None,  # noqa: ARG002 (Gymnasium's own)
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Begin the task of a seed, or the one after the last."""
        super().reset(seed=seed)
        number = self._next if seed is None else seed
        self._next = number + 1
        self._seen = self._env.reset([self._tasks[number % NUM_TASKS]])
        self._goal = self._env.goal_observation()
        return self._observe(), {"is_success": False}

    def step(self, action: np.ndarray) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """Act once; the reward is 1 at the goal, and no episode ends there."""
        self._seen = self._env.step(np.asarray(action, dtype=np.float32)[None])
        reached = bool(self._env.success()[0])
        return self._observe(), float(reached), False, False, {"is_success": reached}

    def render(self) -> np.ndarray:
        """Return the picture of now."""
        return self._observe()["pixels"]["image"]

    def _observe(self) -> dict[str, Any]:
        assert self._seen is not None
        assert self._goal is not None
        return {
            "pixels": {"image": _picture(self._seen), "goal": _picture(self._goal)},
            "agent_pos": _state(self._seen),
            "environment_state": _state(self._goal),
        }


def _picture(obs: Observation) -> np.ndarray:
    return np.ascontiguousarray(obs.pixels[0].permute(1, 2, 0).numpy())


def _state(obs: Observation) -> np.ndarray:
    if obs.proprio is None:
        return np.zeros(1, np.float32)
    return obs.proprio[0].numpy().astype(np.float32)


@dataclass
class _JepawmEnv(EnvConfig):
    fps: int = 10
    episode_length: int = 30
    """Steps of an episode, at the end of which the goal must hold: 30, as the protocol `paper`."""
    image_size: int = 64
    """Side of the pictures."""
    task_seed: int = 0
    """Seed of the list of tasks, as `jepawm eval --seed`."""
    action_dim: int = 2
    """Width of an action."""
    state_dim: int = 2
    """Width of the agent's own state."""
    features: dict[str, PolicyFeature] = field(default_factory=dict)
    features_map: dict[str, str] = field(
        default_factory=lambda: {
            ACTION: ACTION,
            "agent_pos": OBS_STATE,
            "environment_state": OBS_ENV_STATE,
            "pixels/image": f"{OBS_IMAGES}.image",
            "pixels/goal": f"{OBS_IMAGES}.goal",
        }
    )

    def __post_init__(self) -> None:
        picture = PolicyFeature(
            type=FeatureType.VISUAL, shape=(self.image_size, self.image_size, 3)
        )
        self.features = {
            ACTION: PolicyFeature(type=FeatureType.ACTION, shape=(self.action_dim,)),
            "agent_pos": PolicyFeature(type=FeatureType.STATE, shape=(self.state_dim,)),
            "environment_state": PolicyFeature(type=FeatureType.ENV, shape=(self.state_dim,)),
            "pixels/image": picture,
            "pixels/goal": picture,
        }

    @property
    def package_name(self) -> str:
        return PACKAGE

    @property
    def gym_id(self) -> str:
        return f"{PACKAGE}/{self.task}-v0"

    @property
    def gym_kwargs(self) -> dict[str, Any]:
        return {
            "image_size": self.image_size,
            "task_seed": self.task_seed,
            "max_episode_steps": self.episode_length,
        }


@EnvConfig.register_subclass("jepawm_wall")
@dataclass
class JepawmWallEnv(_JepawmEnv):
    """Wall."""

    task: str | None = "Wall"


@EnvConfig.register_subclass("jepawm_pointmaze")
@dataclass
class JepawmPointMazeEnv(_JepawmEnv):
    """PointMaze; needs MuJoCo."""

    task: str | None = "PointMaze"
    state_dim: int = 4


@EnvConfig.register_subclass("jepawm_pusht")
@dataclass
class JepawmPushTEnv(_JepawmEnv):
    """Push-T; needs pymunk."""

    task: str | None = "PushT"
    state_dim: int = 4


for _task, _name in (("Wall", "wall"), ("PointMaze", "pointmaze"), ("PushT", "pusht")):
    gymnasium.register(
        f"{PACKAGE}/{_task}-v0",
        entry_point=f"{PACKAGE}.environments:TaskEnv",
        kwargs={"env": _name},
    )
