"""The Push-T environment: a disc pushes a T. Many copies step in lockstep, one after another."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float

from jepawm.envs.pusht.dynamics import AGENT_RADIUS, PAPER_PHYSICS, PushTPhysics, PushTWorld
from jepawm.envs.pusht.render import CANVAS, render_pusht
from jepawm.envs.pusht.shape import place_block, target_reward
from jepawm.envs.pusht.tasks import (
    angle_distance,
    block_solved,
    pusht_states,
    sample_pusht_tasks,
    solved,
)
from jepawm.envs.rewards import require_reward
from jepawm.errors import UserError
from jepawm.types import Observation, Task

_SMALLEST_IMAGE = 32
_NATIVE_IMAGE = 224
_BESIDE = 10.0  # pixels from the edge of the world; the border is drawn 5 pixels inside it
_PROPRIO = [0, 1, 5, 6]  # the agent's place and velocity


class PushTBatch:
    """Step `B` copies of Push-T; a state is (agent x, y, block x, y, angle, velocity x, y).

    Satisfies `contracts.Simulator`. Proprioception is the agent's (x, y, velocity x, y). Lengths
    are pixels of the 512 x 512 world. There are no copies before the first `reset`.
    """

    action_dim = 2
    proprio_dim = 4
    place_columns: tuple[int, ...] = (0, 1)  # of the agent
    state_dim = 7
    reward_names: tuple[str, ...] = ("covered",)

    def __init__(
        self,
        image_size: int = 64,
        *,
        with_target: bool = True,
        antialias: bool | None = None,
        physics: PushTPhysics = PAPER_PHYSICS,
    ) -> None:
        """Take the side of the images, and whether the fixed target is drawn.

        `antialias` smooths the resize of the canvas; None does so below 224 pixels, where the
        reference has no pictures of its own and thin lines would vanish.
        """
        if not _SMALLEST_IMAGE <= image_size <= CANVAS:
            raise UserError(
                f"image_size = {image_size} does not suit Push-T; choose one between "
                f"{_SMALLEST_IMAGE} and {CANVAS}"
            )
        self.image_size = image_size
        self.state_to_pixel = image_size / physics.window
        self.with_target = with_target
        self.antialias = image_size < _NATIVE_IMAGE if antialias is None else antialias
        self.physics = physics
        self._sandbox = PushTWorld(physics)
        self._worlds: list[PushTWorld] = []
        self._starts = np.zeros((0, self.state_dim))
        self._goals = np.zeros((0, self.state_dim))
        self._past: list[Float[np.ndarray, "B 2"]] = []

    def sample_tasks(self, seed: int, *, num_tasks: int) -> list[Task]:
        """Draw tasks; the same seed gives the same list, none starts solved."""
        return sample_pusht_tasks(seed, num_tasks=num_tasks, physics=self.physics)

    def reset(self, tasks: Sequence[Task]) -> Observation:
        """Put copy i into the start of task i and settle; returns observations `[B]`."""
        if not tasks:
            raise UserError("there are no tasks to reset Push-T to; give at least 1")
        for index, task in enumerate(tasks):
            if task.parameters:
                unknown = sorted(task.parameters)
                raise UserError(f"task {index} of Push-T has parameters {unknown}; it knows none")
        goals = pusht_states([task.goal for task in tasks], "the goal", physics=self.physics)
        starts = pusht_states([task.start for task in tasks], "the start", physics=self.physics)
        self._worlds = self._worlds[: len(tasks)]
        self._worlds += [PushTWorld(self.physics) for _ in range(len(tasks) - len(self._worlds))]
        for world, start in zip(self._worlds, starts, strict=True):
            world.reset(start)
        self._starts, self._goals, self._past = starts, goals, []
        return self._observe(self.states())

    def goal_observation(self) -> Observation:
        """Return observations `[B]` of the goals of the current tasks."""
        return self._observe(self._goals)

    def step(self, actions: Float[np.ndarray, "B a"]) -> Observation:
        """Apply one action `[B, 2]` to each copy; returns observations `[B]`."""
        self._check_actions(actions, num_axes=2)
        exact = actions.astype(np.float64)
        for world, action in zip(self._worlds, exact, strict=True):
            world.step(action)
        self._past.append(exact)
        return self._observe(self.states())

    def states(self) -> Float[np.ndarray, "B 7"]:
        """Return the states `[B, 7]`; angles are not wrapped."""
        if not self._worlds:
            return np.zeros((0, self.state_dim))
        return np.stack([world.state() for world in self._worlds])

    def success(self) -> Bool[np.ndarray, " B"]:
        """Return whether agent and block are near the goal's and the angle is nearly right, now."""
        return solved(self.states(), self._goals, physics=self.physics)

    def object_success(self) -> Bool[np.ndarray, " B"]:
        """Return whether each block is near its goal's place and angle now, wherever the agent is."""
        return block_solved(self.states(), self._goals, physics=self.physics)

    def rewards(self) -> Float[np.ndarray, " B"]:
        """Return how much of the fixed target each block covers now, 1 from 95 % on."""
        return np.array([target_reward(state[2:5]) for state in self.states()])

    def reward(self, name: str, states: Float[np.ndarray, "*b 7"]) -> Float[np.ndarray, "*b"]:
        """Return the reward of states `[*b, 7]`: `covered`, the covered part of the fixed target."""
        require_reward(name, self.reward_names)
        poses = states[..., 2:5]
        each = [target_reward(pose) for pose in poses.reshape(-1, 3)]
        return np.array(each).reshape(poses.shape[:-1])

    def simulate(self, actions: Float[np.ndarray, "B K T a"]) -> Float[np.ndarray, "B K T 7"]:
        """Return the states `[B, K, T, 7]` that actions would lead to; changes nothing.

        Every candidate replays its episode from the start, because the engine remembers contacts
        that a state does not hold: exact, and slower the longer the episode has lasted.
        """
        self._check_actions(actions, num_axes=4)
        states = np.empty((*actions.shape[:3], self.state_dim))
        exact = actions.astype(np.float64)
        for row, candidate in np.ndindex(*actions.shape[:2]):
            self._sandbox.reset(self._starts[row])
            for past in self._past:
                self._sandbox.step(past[row])
            for t, action in enumerate(exact[row, candidate]):
                self._sandbox.step(action)
                states[row, candidate, t] = self._sandbox.state()
        return states

    def goal_distance(self, states: Float[np.ndarray, "B K 7"]) -> Float[np.ndarray, "B K"]:
        """Return squared distances `[B, K]` to the goals, in square pixels.

        Places of agent and block, and the angle, weighted so that the limits of success for both
        cost the same.
        """
        goals = self._goals[:, None]
        places = ((states[..., :4] - goals[..., :4]) ** 2).sum(-1)
        weight = (self.physics.success_distance / self.physics.success_angle) ** 2
        return places + weight * angle_distance(states[..., 4], goals[..., 4]) ** 2

    def beside(self, states: Float[np.ndarray, "B 7"]) -> dict[str, Bool[np.ndarray, " B"]]:
        """Return which blocks, and which agents, are at or over the border of the table `[B]`."""
        corners = place_block(states[:, 2:5]).reshape(len(states), -1)  # [B, 16]
        agents = states[:, :2]
        return {
            "border (block)": _at_border(corners, self.physics.window, reach=0.0),
            "border (agent)": _at_border(agents, self.physics.window, reach=AGENT_RADIUS),
        }

    def _observe(self, states: Float[np.ndarray, "B 7"]) -> Observation:
        pixels = render_pusht(
            states, self.image_size, with_target=self.with_target, antialias=self.antialias
        )
        proprio = torch.from_numpy(states[:, _PROPRIO].astype(np.float32))
        return Observation(pixels=pixels, proprio=proprio)

    def _check_actions(self, actions: np.ndarray, *, num_axes: int) -> None:
        batch = len(self._worlds)
        if actions.ndim != num_axes or actions.shape[0] != batch or actions.shape[-1] != 2:
            raise UserError(
                f"actions have shape {actions.shape}, but there are {batch} copies of Push-T and "
                "an action has 2 numbers; reset(tasks) sets the number of copies"
            )
        if not np.isfinite(actions).all():
            raise UserError("actions for Push-T are not finite; check the policy")


def _at_border(
    places: Float[np.ndarray, "B n"], window: int, *, reach: float
) -> Bool[np.ndarray, " B"]:
    """Return whether some coordinate is within 10 pixels, and a reach, of the edge of the world."""
    return np.minimum(places, window - places).min(1) <= _BESIDE + reach
