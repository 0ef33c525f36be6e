"""Wall: a dot crosses a wall through its door. Many copies in lockstep, and for Gymnasium."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float

from jepawm.captions import Captions
from jepawm.envs.gymnasium.adapter import GymEnv, GymVectorEnv
from jepawm.envs.rewards import require_reward
from jepawm.envs.wall.captions import wall_captions
from jepawm.envs.wall.dynamics import (
    DEFAULT_GEOMETRY,
    WallGeometry,
    beside_places,
    passes_wall,
    wall_rollout,
    wall_step,
)
from jepawm.envs.wall.render import render_wall
from jepawm.envs.wall.tasks import (
    DEFAULT_DOOR_Y,
    DEFAULT_WALL_X,
    sample_wall_tasks,
    wall_layouts,
    wall_positions,
)
from jepawm.errors import UserError
from jepawm.types import Observation, Task

_SMALLEST_IMAGE = 16


class WallBatch:
    """Step `B` copies of Wall at once; state and proprioception are the dot's (x, y) in pixels.

    Satisfies `contracts.Simulator`. There are no copies before the first `reset`.
    """

    action_dim = 2
    proprio_dim = 2
    state_dim = 2
    place_columns: tuple[int, ...] = (0, 1)
    reward_names: tuple[str, ...] = ("corner",)

    def __init__(
        self,
        image_size: int = 64,
        *,
        wall_x: float = DEFAULT_WALL_X,
        door_y: float = DEFAULT_DOOR_Y,
        geometry: WallGeometry = DEFAULT_GEOMETRY,
    ) -> None:
        """Take the side of the images in pixels (65 is native) and the layout of sampled tasks."""
        if image_size < _SMALLEST_IMAGE:
            raise UserError(
                f"image_size = {image_size} cannot show the dot; use at least {_SMALLEST_IMAGE}"
            )
        self.image_size = image_size
        self.state_to_pixel: float | None = image_size / geometry.world_size
        self.wall_x = wall_x
        self.door_y = door_y
        self.geometry = geometry
        self._layout = wall_layouts([])
        self._positions = np.zeros((0, 2))
        self._goals = np.zeros((0, 2))

    def sample_tasks(self, seed: int, *, num_tasks: int) -> list[Task]:
        """Draw tasks; the same seed gives the same list, none starts solved."""
        return sample_wall_tasks(
            seed,
            num_tasks=num_tasks,
            wall_x=self.wall_x,
            door_y=self.door_y,
            geometry=self.geometry,
        )

    def reset(self, tasks: Sequence[Task]) -> Observation:
        """Put copy i into the start of task i; returns observations `[B]`."""
        if not tasks:
            raise UserError("there are no tasks to reset the Wall environment to; give at least 1")
        starts = [task.start for task in tasks]
        goals = [task.goal for task in tasks]
        layout = wall_layouts(tasks)
        self._goals = wall_positions(goals, "the goal", geometry=self.geometry)
        self._positions = wall_positions(starts, "the start", geometry=self.geometry)
        self._layout = layout
        return self._observe(self._positions)

    def goal_observation(self) -> Observation:
        """Return observations `[B]` of the goals of the current tasks."""
        return self._observe(self._goals)

    def step(self, actions: Float[np.ndarray, "B a"]) -> Observation:
        """Apply one action `[B, 2]` to each copy; returns observations `[B]`."""
        self._check_actions(actions, num_axes=2)
        self._positions = wall_step(
            self._positions, actions, layout=self._layout, geometry=self.geometry
        )
        return self._observe(self._positions)

    def states(self) -> Float[np.ndarray, "B 2"]:
        """Return the exact positions `[B, 2]`, in pixels."""
        return self._positions.copy()

    def success(self) -> Bool[np.ndarray, " B"]:
        """Return whether each dot is near its goal now."""
        offset = self._positions - self._goals
        return np.sqrt((offset**2).sum(-1)) < self.geometry.success_distance

    def simulate(self, actions: Float[np.ndarray, "B K T a"]) -> Float[np.ndarray, "B K T 2"]:
        """Return the positions `[B, K, T, 2]` that actions would lead to; changes nothing."""
        self._check_actions(actions, num_axes=4)
        batch, num_candidates = actions.shape[:2]
        positions = np.broadcast_to(self._positions[:, None], (batch, num_candidates, 2))
        return wall_rollout(
            positions, actions, layout=self._layout.unsqueeze(), geometry=self.geometry
        )

    def goal_distance(self, states: Float[np.ndarray, "B K 2"]) -> Float[np.ndarray, "B K"]:
        """Return the squared distance `[B, K]` of positions to the goals, in square pixels."""
        return ((states - self._goals[:, None]) ** 2).sum(-1)

    def reward(self, name: str, states: Float[np.ndarray, "*b 2"]) -> Float[np.ndarray, "*b"]:
        """Return the reward of positions `[*b, 2]`.

        `corner`: 1 in the lower right corner, less with the distance, 0 in the opposite one.
        """
        require_reward(name, self.reward_names)
        low, high = self.geometry.low, self.geometry.high
        away = np.linalg.norm(states - high, axis=-1)
        return 1.0 - away / (np.sqrt(2.0) * (high - low))

    @property
    def captions(self) -> Captions:
        """Return what can be said of positions in the layout of sampled tasks."""
        return wall_captions(wall_x=self.wall_x, door_y=self.door_y, geometry=self.geometry)

    def beside(self, states: Float[np.ndarray, "B 2"]) -> dict[str, Bool[np.ndarray, " B"]]:
        """Return which dots `[B]` are in the door, beside the wall, at the border."""
        return beside_places(states, layout=self._layout, geometry=self.geometry)

    def tunnels(
        self, before: Float[np.ndarray, "B 2"], after: Float[np.ndarray, "B 2"]
    ) -> Bool[np.ndarray, " B"]:
        """Return which straight ways pass through the wall beside its door `[B]`."""
        return passes_wall(before, after, layout=self._layout, geometry=self.geometry)

    def _observe(self, positions: Float[np.ndarray, "B 2"]) -> Observation:
        pixels = render_wall(
            positions, self.image_size, layout=self._layout, geometry=self.geometry
        )
        return Observation(pixels=pixels, proprio=torch.from_numpy(positions.astype(np.float32)))

    def _check_actions(self, actions: np.ndarray, *, num_axes: int) -> None:
        batch = len(self._positions)
        if actions.ndim != num_axes or actions.shape[0] != batch or actions.shape[-1] != 2:
            raise UserError(
                f"actions have shape {actions.shape}, but there are {batch} copies of the Wall "
                "environment and an action has 2 numbers; reset(tasks) sets the number of copies"
            )
        if not np.isfinite(actions).all():
            raise UserError("actions for the Wall environment are not finite; check the policy")


class WallEnv(GymEnv):
    """One copy of Wall; state and proprioception are the dot's (x, y) in pixels of a 65 px world."""

    def __init__(
        self,
        image_size: int = 64,
        *,
        wall_x: float = DEFAULT_WALL_X,
        door_y: float = DEFAULT_DOOR_Y,
        render_mode: Literal["rgb_array"] | None = None,
    ) -> None:
        """Take the side of the images in pixels and the layout of sampled tasks."""
        super().__init__(
            WallBatch(image_size, wall_x=wall_x, door_y=door_y), render_mode=render_mode
        )


class WallVectorEnv(GymVectorEnv):
    """Many copies of Wall in lockstep, stepped by a few array operations."""

    def __init__(
        self,
        num_envs: int,
        *,
        image_size: int = 64,
        wall_x: float = DEFAULT_WALL_X,
        door_y: float = DEFAULT_DOOR_Y,
    ) -> None:
        """Take the number of copies, the side of the images and the layout of sampled tasks."""
        super().__init__(WallBatch(image_size, wall_x=wall_x, door_y=door_y), num_envs)
