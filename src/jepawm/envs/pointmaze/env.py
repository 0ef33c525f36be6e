"""The PointMaze environment: a ball rolls through a U. Many copies step in lockstep."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float

from jepawm.captions import Captions
from jepawm.envs.pointmaze.captions import pointmaze_captions
from jepawm.envs.pointmaze.dynamics import (
    PAPER_PHYSICS,
    PointMazePhysics,
    PointMazeSimulator,
    beside_walls,
    passes_cells,
)
from jepawm.envs.pointmaze.render import DEFAULT_VIEW, PointMazeView, render_pointmaze
from jepawm.envs.pointmaze.tasks import pointmaze_states, sample_pointmaze_tasks
from jepawm.envs.rewards import require_reward
from jepawm.errors import UserError
from jepawm.types import Observation, Task

_SMALLEST_IMAGE = 32


class PointMazeBatch:
    """Step `B` copies of PointMaze; state and proprioception are (x, y, velocity x, velocity y).

    Satisfies `contracts.Simulator`. Lengths are metres. There are no copies before the first
    `reset`.
    """

    action_dim = 2
    proprio_dim = 4
    state_dim = 4
    reward_names: tuple[str, ...] = ("speed", "circling")
    place_columns: tuple[int, ...] = (0, 1)
    state_to_pixel = None  # y points up in the pictures, and x = y = 0 is not in their corner

    def __init__(
        self,
        image_size: int = 64,
        *,
        view: PointMazeView = DEFAULT_VIEW,
        physics: PointMazePhysics = PAPER_PHYSICS,
    ) -> None:
        """Take the side of the images in pixels (the paper's is 224) and how they are drawn."""
        if image_size < _SMALLEST_IMAGE:
            raise UserError(
                f"image_size = {image_size} cannot show the ball; use at least {_SMALLEST_IMAGE}"
            )
        self.image_size = image_size
        self.view = view
        self.physics = physics
        self._simulator = PointMazeSimulator(physics)
        self._states = np.zeros((0, self.state_dim))
        self._goals = np.zeros((0, self.state_dim))

    def sample_tasks(self, seed: int, *, num_tasks: int) -> list[Task]:
        """Draw tasks; the same seed gives the same list, none starts solved."""
        return sample_pointmaze_tasks(seed, num_tasks=num_tasks, physics=self.physics)

    def reset(self, tasks: Sequence[Task]) -> Observation:
        """Put copy i into the start of task i; returns observations `[B]`."""
        if not tasks:
            raise UserError("there are no tasks to reset PointMaze to; give at least 1")
        for index, task in enumerate(tasks):
            if task.parameters:
                unknown = sorted(task.parameters)
                raise UserError(
                    f"task {index} of PointMaze has parameters {unknown}; it knows none"
                )
        goals = pointmaze_states([task.goal for task in tasks], "the goal")
        self._states = pointmaze_states([task.start for task in tasks], "the start")
        self._goals = goals
        return self._observe(self._states)

    def goal_observation(self) -> Observation:
        """Return observations `[B]` of the goals of the current tasks."""
        return self._observe(self._goals)

    def step(self, actions: Float[np.ndarray, "B a"]) -> Observation:
        """Apply one action `[B, 2]` to each copy; returns observations `[B]`."""
        self._check_actions(actions, num_axes=2)
        self._states = self._simulator.step(self._states, actions)
        return self._observe(self._states)

    def states(self) -> Float[np.ndarray, "B 4"]:
        """Return the exact states `[B, 4]`."""
        return self._states.copy()

    def success(self) -> Bool[np.ndarray, " B"]:
        """Return whether each ball is near its goal now; its velocity does not count."""
        offset = self._states[:, :2] - self._goals[:, :2]
        return np.linalg.norm(offset, axis=-1) < self.physics.success_distance

    def simulate(self, actions: Float[np.ndarray, "B K T a"]) -> Float[np.ndarray, "B K T 4"]:
        """Return the states `[B, K, T, 4]` that actions would lead to; changes nothing."""
        self._check_actions(actions, num_axes=4)
        batch, num_candidates, num_steps, _ = actions.shape
        flat = actions.reshape(batch * num_candidates, num_steps, -1)
        current = np.repeat(self._states, num_candidates, axis=0)
        states = np.empty((*flat.shape[:2], self.state_dim))
        for t in range(num_steps):
            current = self._simulator.step(current, flat[:, t])
            states[:, t] = current
        return states.reshape(batch, num_candidates, num_steps, self.state_dim)

    def goal_distance(self, states: Float[np.ndarray, "B K 4"]) -> Float[np.ndarray, "B K"]:
        """Return the squared distance `[B, K]` of places to the goals, in square metres."""
        return ((states[..., :2] - self._goals[:, None, :2]) ** 2).sum(-1)

    def reward(self, name: str, states: Float[np.ndarray, "*b 4"]) -> Float[np.ndarray, "*b"]:
        """Return the reward of states `[*b, 4]`, in m/s.

        `speed`: the length of the velocity. `circling`: its part that turns counterclockwise about
        the middle of the maze.
        """
        require_reward(name, self.reward_names)
        velocities = states[..., 2:]
        if name == "speed":
            return np.linalg.norm(velocities, axis=-1)
        middle = (np.array([len(self.physics.maze), len(self.physics.maze[0])]) + 1) / 2
        away = states[..., :2] + np.array(self.physics.particle_base[:2]) - middle
        cross = away[..., 0] * velocities[..., 1] - away[..., 1] * velocities[..., 0]
        return cross / np.linalg.norm(away, axis=-1).clip(1e-9)

    @property
    def captions(self) -> Captions:
        """Return what can be said of places in the paper's maze."""
        if self.physics.maze != PAPER_PHYSICS.maze:
            raise UserError("captions are known for the paper's maze alone; give your own")
        return pointmaze_captions()

    def beside(self, states: Float[np.ndarray, "B 4"]) -> dict[str, Bool[np.ndarray, " B"]]:
        """Return which balls `[B]` are beside the wall inside the U, and which at the outer walls."""
        return beside_walls(states, physics=self.physics)

    def tunnels(
        self, before: Float[np.ndarray, "B 4"], after: Float[np.ndarray, "B 4"]
    ) -> Bool[np.ndarray, " B"]:
        """Return which straight ways between states pass through a wall of the maze `[B]`."""
        return passes_cells(before, after, physics=self.physics)

    def _observe(self, states: Float[np.ndarray, "B 4"]) -> Observation:
        pixels = render_pointmaze(states, self.image_size, view=self.view, physics=self.physics)
        return Observation(pixels=pixels, proprio=torch.from_numpy(states.astype(np.float32)))

    def _check_actions(self, actions: np.ndarray, *, num_axes: int) -> None:
        batch = len(self._states)
        if actions.ndim != num_axes or actions.shape[0] != batch or actions.shape[-1] != 2:
            raise UserError(
                f"actions have shape {actions.shape}, but there are {batch} copies of PointMaze "
                "and an action has 2 numbers; reset(tasks) sets the number of copies"
            )
        if not np.isfinite(actions).all():
            raise UserError("actions for PointMaze are not finite; check the policy")
