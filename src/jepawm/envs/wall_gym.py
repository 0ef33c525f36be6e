"""Wall for Gymnasium: one copy (`WallEnv`) and many copies at once (`WallVectorEnv`)."""

from typing import ClassVar, Literal

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from jaxtyping import Bool, Float, UInt8

from jepawm.envs.wall import WallBatch
from jepawm.envs.wall_tasks import DEFAULT_DOOR_Y, DEFAULT_WALL_X
from jepawm.errors import UserError
from jepawm.protocols import Task
from jepawm.types import Observation

_SEED_LIMIT = 2**63

Arrays = dict[str, np.ndarray]
"""An observation: `pixels` uint8 and `proprio` float32."""


class WallEnv(gymnasium.Env[Arrays, np.ndarray]):
    """One copy of Wall.

    Observations are `pixels` `[3, S, S]` uint8 and `proprio` `[2]` float32; `info` holds `success`
    and the exact `state` `[2]` float64. Rewards are 0 and episodes have no end of their own, as in
    the paper: wrap a time limit around. Actions beyond the action space are not clipped.
    """

    metadata: ClassVar[dict[str, object]] = {"render_modes": ["rgb_array"], "render_fps": 10}  # pyright: ignore[reportIncompatibleVariableOverride]

    def __init__(
        self,
        image_size: int = 64,
        *,
        wall_x: float = DEFAULT_WALL_X,
        door_y: float = DEFAULT_DOOR_Y,
        render_mode: Literal["rgb_array"] | None = None,
    ) -> None:
        """Take the side of the images and the layout of sampled tasks; None does not render."""
        self._batch = WallBatch(image_size, wall_x=wall_x, door_y=door_y)
        self.render_mode = render_mode
        self.observation_space = _observation_space(self._batch)
        self.action_space = _action_space()
        self._pixels = np.zeros((3, image_size, image_size), dtype=np.uint8)

    def reset(
        self, *, seed: int | None = None, options: dict[str, object] | None = None
    ) -> tuple[Arrays, dict[str, object]]:
        """Start the task in `options["task"]` exactly, else one drawn from `seed`.

        Raises:
            UserError: if the options hold anything else.
        """
        super().reset(seed=seed)
        tasks = _tasks(options, key="task")
        if tasks is None:
            tasks = self._batch.sample_tasks(_task_seed(seed, self.np_random), num_tasks=1)
        return self._result(self._batch.reset(tasks))

    def step(
        self, action: Float[np.ndarray, " 2"]
    ) -> tuple[Arrays, float, bool, bool, dict[str, object]]:
        """Apply one action `[2]`; returns observation, reward, terminated, truncated, info."""
        obs, info = self._result(self._batch.step(np.asarray(action)[None]))
        return obs, 0.0, False, False, info

    def render(self) -> UInt8[np.ndarray, "height width 3"] | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Return the last image `[S, S, 3]`; None without a render mode."""
        return None if self.render_mode is None else self._pixels.transpose(1, 2, 0)

    def goal_observation(self) -> Arrays:
        """Return the observation of the current task's goal."""
        goal = _to_arrays(self._batch.goal_observation())
        return {name: values[0] for name, values in goal.items()}

    def _result(self, batched: Observation) -> tuple[Arrays, dict[str, object]]:
        obs = {name: values[0] for name, values in _to_arrays(batched).items()}
        self._pixels = obs["pixels"]
        info: dict[str, object] = {
            "success": bool(self._batch.success()[0]),
            "state": self._batch.states()[0],
        }
        return obs, info


class WallVectorEnv(VectorEnv[Arrays, np.ndarray, np.ndarray]):
    """Many copies of Wall, stepped by a few array operations; arrays have a leading axis `B`.

    The same environment as `WallEnv`. Nothing resets by itself because no episode ends.
    """

    metadata: ClassVar[dict[str, object]] = {"autoreset_mode": AutoresetMode.DISABLED}  # pyright: ignore[reportIncompatibleVariableOverride]

    def __init__(
        self,
        num_envs: int,
        *,
        image_size: int = 64,
        wall_x: float = DEFAULT_WALL_X,
        door_y: float = DEFAULT_DOOR_Y,
    ) -> None:
        """Take the number of copies `B`, the side of the images and the layout of their tasks."""
        self.num_envs = num_envs
        self._batch = WallBatch(image_size, wall_x=wall_x, door_y=door_y)
        self.single_observation_space = _observation_space(self._batch)
        self.single_action_space = _action_space()
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)

    def reset(
        self, *, seed: int | None = None, options: dict[str, object] | None = None
    ) -> tuple[Arrays, dict[str, object]]:
        """Start the `B` tasks in `options["tasks"]` exactly, else `B` tasks drawn from `seed`.

        Raises:
            UserError: if the options hold anything else, or another number of tasks.
        """
        super().reset(seed=seed)
        tasks = _tasks(options, key="tasks")
        if tasks is None:
            drawn_seed = _task_seed(seed, self.np_random)
            tasks = self._batch.sample_tasks(drawn_seed, num_tasks=self.num_envs)
        if len(tasks) != self.num_envs:
            raise UserError(
                f"options['tasks'] holds {len(tasks)} tasks for {self.num_envs} copies; give one "
                "task for each copy"
            )
        return self._result(self._batch.reset(tasks))

    def step(
        self, actions: Float[np.ndarray, "B 2"]
    ) -> tuple[
        Arrays, Float[np.ndarray, " B"], Bool[np.ndarray, " B"], Bool[np.ndarray, " B"], dict
    ]:
        """Apply actions `[B, 2]`; returns observations, rewards, terminated, truncated, info."""
        obs, info = self._result(self._batch.step(np.asarray(actions)))
        never = np.zeros(self.num_envs, dtype=np.bool_)
        return obs, np.zeros(self.num_envs), never, never.copy(), info

    def goal_observation(self) -> Arrays:
        """Return the observations `[B]` of the current tasks' goals."""
        return _to_arrays(self._batch.goal_observation())

    def _result(self, obs: Observation) -> tuple[Arrays, dict[str, object]]:
        info: dict[str, object] = {"success": self._batch.success(), "state": self._batch.states()}
        return _to_arrays(obs), info


def _observation_space(batch: WallBatch) -> spaces.Space[Arrays]:
    side, world = batch.image_size, float(batch.geometry.world_size)
    return spaces.Dict(  # pyright: ignore[reportReturnType]
        {
            "pixels": spaces.Box(0, 255, (3, side, side), np.uint8),
            "proprio": spaces.Box(0.0, world, (batch.proprio_dim,), np.float32),
        }
    )


def _action_space() -> spaces.Box:
    """Return the reference's nominal action space, beyond which actions count too."""
    return spaces.Box(-1.0, 1.0, (WallBatch.action_dim,), np.float32)


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
        raise UserError(f"options[{key!r}] holds something other than jepawm.protocols.Task")
    return checked


def _task_seed(seed: int | None, generator: np.random.Generator) -> int:
    """Return the seed of the tasks: the given one, else the next number of the generator."""
    return int(generator.integers(_SEED_LIMIT)) if seed is None else seed


def _to_arrays(obs: Observation) -> Arrays:
    if obs.proprio is None:
        raise UserError("an observation of the Wall environment has no proprio")
    return {"pixels": obs.pixels.numpy(), "proprio": obs.proprio.numpy()}
