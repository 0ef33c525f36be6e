"""The planning problems of an agent at the start of tasks: their cost, and what plans truly lead to."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from jepawm.agent import PlanningAgent
from jepawm.contracts import Bounds, CostFn, Simulator
from jepawm.normalizer import Normalizer
from jepawm.types import Observation, Plan


@dataclass(frozen=True, kw_only=True, eq=False)
class Problem:
    """The first planning problem of some tasks `[B]`, as an agent poses it to its planner."""

    cost: CostFn
    """Cost of candidates `[B, K, H, A]`."""
    init: Float[Tensor, "B H A"]
    """Initial guess: zeros, normalised."""
    bounds: Bounds | None
    """Lowest and highest action block; None: free."""


class CatchProblem:
    """A planner that plans nothing and keeps the problem that an agent poses."""

    needs_gradients: ClassVar[bool] = False

    def __init__(self) -> None:
        """Start without a problem."""
        self.problem: Problem | None = None

    def plan(
        self,
        cost: CostFn,
        init: Float[Tensor, "B H A"],
        *,
        bounds: Bounds | None,
        generator: torch.Generator,  # noqa: ARG002 (a planner's argument)
    ) -> Plan:
        """Keep the problem; return the initial guess."""
        self.problem = Problem(cost=cost, init=init, bounds=bounds)
        unknown = init.new_full(init.shape[:1], float("nan"))
        return Plan(actions=init, cost=unknown, history=unknown[None, :])


def pose_problem(
    agent: PlanningAgent, obs: Observation, *, goal: Observation, num_steps: int | None
) -> Problem:
    """Return the problem that an agent, whose planner is a `CatchProblem`, poses at observations `[B]`.

    `num_steps` is the length of the episode in action blocks; None: there is no end.
    """
    catcher = agent.planner
    assert isinstance(catcher, CatchProblem)
    agent.reset(goal, num_steps)
    agent.act(obs)
    assert catcher.problem is not None
    return catcher.problem


def true_distances(
    env: Simulator, actions: Float[Tensor, "B K H A"], *, normalizer: Normalizer
) -> Float[np.ndarray, "B K"]:
    """Return the true distance to the goals `[B, K]` after each candidate, from the present states.

    It is the root of what the oracle minimises, in the units of the environment's task space.
    """
    raw = normalizer.unnormalize_action(actions)
    steps = raw.unflatten(-1, (-1, env.action_dim)).flatten(2, 3)  # [B, K, T, a]
    states = env.simulate(steps.cpu().numpy().astype(np.float64))
    return np.sqrt(env.goal_distance(states[:, :, -1]))
