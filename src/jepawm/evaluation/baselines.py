"""Agents that a world model is measured against; all act on the same tasks."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from jepawm.agent import RecedingHorizon
from jepawm.contracts import Bounds, CostFn, Planner, Simulator
from jepawm.errors import UserError
from jepawm.normalizer import Normalizer
from jepawm.protocol import Protocol
from jepawm.types import Observation


class DoNothing:
    """Give the zero action, in environment units."""

    def __init__(self, *, action_dim: int) -> None:
        """Take the width of an action block."""
        self._action_dim = action_dim

    def reset(self, goal: Observation, num_steps: int | None = None) -> None:
        """Take goals `[B]`, which do not matter."""

    def act(self, obs: Observation) -> Float[Tensor, "B A"]:
        """Return zeros `[B, A]`."""
        return torch.zeros(*obs.batch_shape, self._action_dim)


class RandomActions:
    """Draw normal actions with the mean and the standard deviation of the training data."""

    def __init__(
        self, *, normalizer: Normalizer, frameskip: int, generator: torch.Generator
    ) -> None:
        """Take the statistics of the data."""
        self._normalizer = normalizer
        self._action_dim = frameskip * normalizer.action_dim
        self._generator = generator

    def reset(self, goal: Observation, num_steps: int | None = None) -> None:
        """Take goals `[B]`, which do not matter."""

    def act(self, obs: Observation) -> Float[Tensor, "B A"]:
        """Return actions `[B, A]`, in environment units."""
        noise = torch.randn(*obs.batch_shape, self._action_dim, generator=self._generator)
        return self._normalizer.unnormalize_action(noise.to(self._normalizer.action_mean.device))


class Oracle:
    """Plan on the true dynamics and the true distance to the goal: what a perfect model reaches.

    The planner, the horizon and the replanning are those of the world model's row.
    """

    def __init__(
        self,
        env: Simulator,
        *,
        planner: Planner,
        normalizer: Normalizer,
        protocol: Protocol,
        generator: torch.Generator,
        bounds: Bounds | None = None,
        warm_start: bool = False,
    ) -> None:
        """Take the environment that the actions will be applied to."""
        self._env = env
        self._normalizer = normalizer
        self._action_dim = protocol.frameskip * normalizer.action_dim
        self._horizon = RecedingHorizon(
            planner=planner,
            horizon=protocol.horizon,
            num_action_steps=protocol.num_action_steps,
            action_dim=self._action_dim,
            generator=generator,
            bounds=bounds,
            warm_start=warm_start,
        )

    def reset(self, goal: Observation, num_steps: int | None = None) -> None:
        """Start an episode; the goals are those that the environment holds.

        Raises:
            UserError: if the environment holds another number of tasks than there are goals.
        """
        num_tasks = len(self._env.states())
        if goal.batch_shape != (num_tasks,):
            raise UserError(f"{tuple(goal.batch_shape)} goals for {num_tasks} tasks")
        self._horizon.reset(num_steps)

    @torch.no_grad()
    def act(self, obs: Observation) -> Float[Tensor, "B A"]:
        """Return the next action blocks `[B, A]`, in environment units."""
        if self._horizon.steps_to_plan == 0:
            device = self._normalizer.action_mean.device
            like = torch.zeros(*obs.batch_shape, 0, self._action_dim, device=device)
            self._horizon.plan(self._cost(), like=like)
        return self._normalizer.unnormalize_action(self._horizon.pop())

    def _cost(self) -> CostFn:
        def cost(actions: Float[Tensor, "B K H A"]) -> Float[Tensor, "B K"]:
            raw = self._normalizer.unnormalize_action(actions.detach())  # no gradient is there
            steps = raw.unflatten(-1, (-1, self._env.action_dim)).flatten(2, 3)  # [B, K, T, a]
            states = self._env.simulate(steps.cpu().numpy().astype(np.float64))
            distance = self._env.goal_distance(states[:, :, -1])
            return torch.from_numpy(distance).to(actions)

        return cost
