"""Any batched environment for Gymnasium: one copy (`GymEnv`) or many at once (`GymVectorEnv`)."""

from collections.abc import Callable
from typing import ClassVar, Literal

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from jaxtyping import Bool, Float, UInt8

from jepawm.contracts import Simulator
from jepawm.errors import UserError
from jepawm.types import Observation, Task

_SEED_LIMIT = 2**63
_FARTHEST = float(np.finfo(np.float32).max)

Arrays = dict[str, np.ndarray]
"""An observation: `pixels` uint8 and `proprio` float32."""

Rewards = Callable[[], Float[np.ndarray, " B"]]
"""Return the rewards `[B]` of an environment's copies now."""


class GymEnv(gymnasium.Env[Arrays, np.ndarray]):
    """One copy of an environment, for example `GymEnv(PushTBatch(64))`.

    Observations are `pixels` `[3, S, S]` uint8 and `proprio` `[P]` float32; `info` holds `success`
    and the exact `state` `[S]` float64. Episodes have no end of their own, as in the paper: wrap a
    time limit around. The action space is nominal; actions beyond it count as the environment says.
    """

    metadata: ClassVar[dict[str, object]] = {"render_modes": ["rgb_array"], "render_fps": 10}  # pyright: ignore[reportIncompatibleVariableOverride]

    def __init__(
        self,
        env: Simulator,
        *,
        rewards: Rewards | None = None,
        render_mode: Literal["rgb_array"] | None = None,
    ) -> None:
        """Take the environment and where its rewards come from; None gives 0, as in the paper.

        Without a render mode nothing is rendered but the observations.
        """
        self._env = env
        self._rewards = rewards
        self.render_mode = render_mode
        self.observation_space = _observation_space(env)
        self.action_space = spaces.Box(-1.0, 1.0, (env.action_dim,), np.float32)
        self._pixels = np.zeros(_picture_shape(env), dtype=np.uint8)

    def reset(
        self, *, seed: int | None = None, options: dict[str, object] | None = None
    ) -> tuple[Arrays, dict[str, object]]:
        """Start the task in `options["task"]` exactly, else one drawn from `seed`."""
        super().reset(seed=seed)
        tasks = _tasks(options, key="task")
        if tasks is None:
            tasks = self._env.sample_tasks(_task_seed(seed, self.np_random), num_tasks=1)
        return self._result(self._env.reset(tasks))

    def step(
        self, action: Float[np.ndarray, " a"]
    ) -> tuple[Arrays, float, bool, bool, dict[str, object]]:
        """Apply one action `[a]`; returns observation, reward, terminated, truncated, info."""
        obs, info = self._result(self._env.step(np.asarray(action)[None]))
        reward = 0.0 if self._rewards is None else float(self._rewards()[0])
        return obs, reward, False, False, info

    def render(self) -> UInt8[np.ndarray, "height width 3"] | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Return the last image `[S, S, 3]`; None without a render mode."""
        return None if self.render_mode is None else self._pixels.transpose(1, 2, 0)

    def goal_observation(self) -> Arrays:
        """Return the observation of the current task's goal."""
        goal = _to_arrays(self._env.goal_observation())
        return {name: values[0] for name, values in goal.items()}

    def _result(self, batched: Observation) -> tuple[Arrays, dict[str, object]]:
        obs = {name: values[0] for name, values in _to_arrays(batched).items()}
        self._pixels = obs["pixels"]
        success, state = bool(self._env.success()[0]), self._env.states()[0]
        return obs, {"success": success, "state": state}


class GymVectorEnv(VectorEnv[Arrays, np.ndarray, np.ndarray]):
    """Many copies of an environment in lockstep; arrays have a leading axis `B`.

    The same environment as `GymEnv`. Nothing resets by itself: no episode ends but by a limit of
    steps, which all reach together; then call `reset`.
    """

    metadata: ClassVar[dict[str, object]] = {  # pyright: ignore[reportIncompatibleVariableOverride]
        "render_modes": ["rgb_array"],
        "render_fps": 10,
        "autoreset_mode": AutoresetMode.DISABLED,
    }

    def __init__(
        self,
        env: Simulator,
        num_envs: int,
        *,
        rewards: Rewards | None = None,
        render_mode: Literal["rgb_array"] | None = None,
        max_episode_steps: int | None = None,
    ) -> None:
        """Take the environment, the number of copies `B`, where rewards come from, and a limit of steps."""
        self.num_envs = num_envs
        self.render_mode = render_mode
        self._limit = max_episode_steps
        self._steps = 0
        self._pixels = np.zeros((num_envs, *_picture_shape(env)), dtype=np.uint8)
        self._env = env
        self._rewards = rewards
        self.single_observation_space = _observation_space(env)
        self.single_action_space = spaces.Box(-1.0, 1.0, (env.action_dim,), np.float32)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)

    def reset(
        self, *, seed: int | None = None, options: dict[str, object] | None = None
    ) -> tuple[Arrays, dict[str, object]]:
        """Start the `B` tasks in `options["tasks"]` exactly, else `B` tasks drawn from `seed`."""
        super().reset(seed=seed)
        tasks = _tasks(options, key="tasks")
        if tasks is None:
            drawn_seed = _task_seed(seed, self.np_random)
            tasks = self._env.sample_tasks(drawn_seed, num_tasks=self.num_envs)
        if len(tasks) != self.num_envs:
            raise UserError(
                f"options['tasks'] holds {len(tasks)} tasks for {self.num_envs} copies; give one "
                "task for each copy"
            )
        self._steps = 0
        return self._result(self._env.reset(tasks))

    def step(
        self, actions: Float[np.ndarray, "B a"]
    ) -> tuple[
        Arrays, Float[np.ndarray, " B"], Bool[np.ndarray, " B"], Bool[np.ndarray, " B"], dict
    ]:
        """Apply actions `[B, a]`; returns observations, rewards, terminated, truncated, info."""
        obs, info = self._result(self._env.step(np.asarray(actions)))
        rewards = np.zeros(self.num_envs) if self._rewards is None else self._rewards()
        self._steps += 1
        never = np.zeros(self.num_envs, dtype=np.bool_)
        cut = np.full(self.num_envs, self._limit is not None and self._steps >= self._limit)
        return obs, rewards, never, cut, info

    def render(self) -> tuple[UInt8[np.ndarray, "height width 3"], ...] | None:
        """Return the last image `[S, S, 3]` of each copy; None without a render mode."""
        if self.render_mode is None:
            return None
        return tuple(frame.transpose(1, 2, 0) for frame in self._pixels)

    def goal_observation(self) -> Arrays:
        """Return the observations `[B]` of the current tasks' goals."""
        return _to_arrays(self._env.goal_observation())

    def _result(self, obs: Observation) -> tuple[Arrays, dict[str, object]]:
        arrays = _to_arrays(obs)
        self._pixels = arrays["pixels"]
        return arrays, {"success": self._env.success(), "state": self._env.states()}


def _picture_shape(env: Simulator) -> tuple[int, ...]:
    """Return the shape of a picture, by looking at one."""
    return tuple(env.reset(env.sample_tasks(0, num_tasks=1)).pixels.shape[1:])


def _observation_space(env: Simulator) -> spaces.Space[Arrays]:
    return spaces.Dict(  # pyright: ignore[reportReturnType]
        {
            "pixels": spaces.Box(0, 255, _picture_shape(env), np.uint8),
            "proprio": spaces.Box(-_FARTHEST, _FARTHEST, (env.proprio_dim,), np.float32),
        }
    )


def _tasks(options: dict[str, object] | None, *, key: str) -> list[Task] | None:
    """Read the tasks from reset options; None if there are no options."""
    if not options:
        return None
    given = options.get(key)
    tasks = [given] if key == "task" else given
    if set(options) != {key} or not isinstance(tasks, list | tuple):
        raise UserError(f"reset options {sorted(options)} are not understood; give {key!r} only")
    checked = [task for task in tasks if isinstance(task, Task)]
    if len(checked) != len(tasks):
        raise UserError(f"options[{key!r}] holds something other than jepawm.types.Task")
    return checked


def _task_seed(seed: int | None, generator: np.random.Generator) -> int:
    """Return the seed of the tasks: the given one, else the next number of the generator."""
    return int(generator.integers(_SEED_LIMIT)) if seed is None else seed


def _to_arrays(obs: Observation) -> Arrays:
    if obs.proprio is None:
        raise UserError("the environment's observations have no proprio, which Gymnasium's need")
    return {"pixels": obs.pixels.numpy(), "proprio": obs.proprio.numpy()}
