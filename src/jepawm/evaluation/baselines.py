"""Agents that a world model is measured against; all act on the same tasks."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from jepawm.agent import AgentConfig, RecedingHorizon
from jepawm.contracts import CostFn, Planner, Simulator
from jepawm.errors import UserError
from jepawm.normalizer import Normalizer
from jepawm.planning.best_of import BestOf
from jepawm.planning.cem import CEM
from jepawm.planning.draws import ProblemGenerators, draw_normal
from jepawm.planning.proposing import takes_proposals
from jepawm.protocol import Protocol
from jepawm.types import Observation

StatesCost = Callable[[Float[np.ndarray, "B K T S"]], Float[np.ndarray, "B K"]]
"""Cost `[B, K]` of the true states `[B, K, T, S]` that plans lead to."""


class DoNothing:
    """Give the zero action, in environment units."""

    def __init__(self, *, action_dim: int) -> None:
        """Take the width of an action block."""
        self._action_dim = action_dim

    def reset(self, goal: Observation | None, num_steps: int | None = None) -> None:
        """Take goals `[B]`, which do not matter."""

    def act(self, obs: Observation) -> Float[Tensor, "B A"]:
        """Return zeros `[B, A]`."""
        return torch.zeros(*obs.batch_shape, self._action_dim)


class RandomActions:
    """Draw normal actions with the mean and the standard deviation of the training data."""

    def __init__(self, *, normalizer: Normalizer, frameskip: int, seed: int = 0) -> None:
        """Take the statistics of the data."""
        self._normalizer = normalizer
        self._action_dim = frameskip * normalizer.action_dim
        self.reseed(seed)

    def reseed(self, seed: int) -> None:
        """Start the random numbers anew."""
        self._generator = torch.Generator().manual_seed(seed)

    def reseed_tasks(self, seeds: Sequence[int]) -> None:
        """Start the random numbers of each task anew."""
        self._generator = ProblemGenerators.seeded(seeds)

    def reset(self, goal: Observation | None, num_steps: int | None = None) -> None:
        """Take goals `[B]`, which do not matter."""

    def act(self, obs: Observation) -> Float[Tensor, "B A"]:
        """Return actions `[B, A]`, in environment units."""
        noise = draw_normal((*obs.batch_shape, self._action_dim), generator=self._generator)
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
        config: AgentConfig,
        cost: StatesCost | None = None,
        seed: int = 0,
    ) -> None:
        """Take the simulator that the actions will be applied to, and the model's planner.

        `cost` is of the states that a plan leads to; None: the distance of the last to the goal.
        """
        self._env = env
        self._states_cost = cost or (lambda states: env.goal_distance(states[:, :, -1]))
        self._normalizer = normalizer
        self._replanning = RecedingHorizon(
            _with_numbers(oracle_planner(planner), protocol),
            protocol=protocol,
            config=config,
            normalizer=normalizer,
            seed=seed,
        )

    def reseed(self, seed: int) -> None:
        """Start the random numbers of the planner anew."""
        self._replanning.reseed(seed)

    def reseed_tasks(self, seeds: Sequence[int]) -> None:
        """Start the random numbers of the planner anew, for each task."""
        self._replanning.reseed_tasks(seeds)

    def reset(self, goal: Observation | None, num_steps: int | None = None) -> None:
        """Start an episode; the goals are those that the environment holds."""
        num_tasks = len(self._env.states())
        if goal is not None and goal.batch_shape != (num_tasks,):
            raise UserError(f"{tuple(goal.batch_shape)} goals for {num_tasks} tasks")
        self._replanning.reset(num_steps)

    @torch.no_grad()
    def act(self, obs: Observation) -> Float[Tensor, "B A"]:
        """Return the next action blocks `[B, A]`, in environment units."""
        if self._replanning.steps_to_plan == 0:
            device = self._normalizer.action_mean.device
            like = torch.zeros(*obs.batch_shape, 0, self._replanning.action_dim, device=device)
            self._replanning.plan(self._cost(), like=like)
        return self._normalizer.unnormalize_action(self._replanning.pop())

    def _cost(self) -> CostFn:
        def cost(actions: Float[Tensor, "B K H A"]) -> Float[Tensor, "B K"]:
            raw = self._normalizer.unnormalize_action(actions.detach())  # no gradient is there
            steps = raw.unflatten(-1, (-1, self._env.action_dim)).flatten(2, 3)  # [B, K, T, a]
            states = self._env.simulate(steps.cpu().numpy().astype(np.float64))
            return torch.from_numpy(self._states_cost(states)).to(actions)

        return cost


def oracle_planner(planner: Planner) -> Planner:
    """Return the planner of the oracle: the model's, or CEM where that cannot search a simulator.

    Simulators have no gradients, and nobody proposes plans for them.
    """
    if planner.needs_gradients or isinstance(planner, BestOf):
        return CEM()
    return replace(planner, num_proposals=0) if takes_proposals(planner) else planner  # pyright: ignore[reportArgumentType]


def _with_numbers(planner: Planner, protocol: Protocol) -> Planner:
    """Return the planner with the protocol's numbers for the oracle."""
    numbers = {
        "num_samples": protocol.oracle_samples,
        "num_iterations": protocol.oracle_iterations,
    }
    given = {name: number for name, number in numbers.items() if number is not None}
    missing = [name for name in given if not hasattr(planner, name)]
    if missing:
        raise UserError(
            f"protocol {protocol.name} sets {' and '.join(missing)} of the oracle's planner, which "
            f"{type(planner).__name__} does not have; choose another planner or protocol"
        )
    return replace(planner, **given) if given else planner  # pyright: ignore[reportArgumentType]
