"""Watch a planner at work: every candidate that it evaluates, and what each costs."""

from dataclasses import dataclass
from time import perf_counter
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from jepawm.contracts import Bounds, CostFn, CostOfProblems, Planner, TakesProposals
from jepawm.planning.gradients import cost_and_gradient
from jepawm.types import Plan


@dataclass(frozen=True, kw_only=True, eq=False)
class Look:
    """Candidates that a planner evaluated at once."""

    actions: Float[Tensor, "B K H A"]
    """Candidates `[B, K, H, A]`, normalised."""
    cost: Float[Tensor, "B K"]
    """Their costs `[B, K]`."""
    seconds: float
    """Wall seconds from the start of the plan to these costs."""


class WatchedCost:
    """A cost function that keeps what it was asked for; it costs what the other one does."""

    def __init__(self, cost: CostFn, looks: list[Look], *, began: float | None = None) -> None:
        """Take the cost, the list that looks are added to, and when the plan began; None: now."""
        self._cost = cost
        self._looks = looks
        self._began = perf_counter() if began is None else began

    def __call__(self, actions: Float[Tensor, "B K H A"]) -> Float[Tensor, "B K"]:
        """Return costs `[B, K]`."""
        found = self._cost(actions)
        self._keep(actions, found)
        return found

    def with_gradient(
        self, actions: Float[Tensor, "B K H A"]
    ) -> tuple[Float[Tensor, "B K"], Float[Tensor, "B K H A"]]:
        """Return costs `[B, K]` and their gradient, the other one's own if it has one."""
        found, gradient = cost_and_gradient(self._cost, actions)
        self._keep(actions, found)
        return found, gradient

    def of(self, problems: Int[Tensor, " b"]) -> CostFn:
        """Return the watched cost of some of the problems; all of them where it has no parts."""
        if not isinstance(self._cost, CostOfProblems):
            return self
        return WatchedCost(self._cost.of(problems), self._looks, began=self._began)

    def _keep(self, actions: Tensor, cost: Tensor) -> None:
        seconds = perf_counter() - self._began
        kept = actions.detach().clone(), cost.detach().clone()
        self._looks.append(Look(actions=kept[0], cost=kept[1], seconds=seconds))


class WatchedPlanner:
    """A planner that plans as another one does, and remembers what that one looked at."""

    needs_gradients: ClassVar[bool] = False

    def __init__(self, planner: Planner) -> None:
        """Take the planner."""
        self.planner = planner
        self.sees_dropped = getattr(planner, "sees_dropped", False)
        self.looks: list[Look] = []
        self.cost: CostFn | None = None

    @property
    def num_proposals(self) -> int:
        """Return how many proposals the planner starts from."""
        return self.planner.num_proposals if isinstance(self.planner, TakesProposals) else 0

    def plan(
        self,
        cost: CostFn,
        init: Float[Tensor, "B H A"],
        *,
        bounds: Bounds | None,
        generator: torch.Generator,
        proposals: Float[Tensor, "B P H A"] | None = None,
    ) -> Plan:
        """Plan; earlier looks are forgotten, the cost of this plan is kept."""
        self.looks.clear()
        self.cost = cost
        more = {} if proposals is None else {"proposals": proposals}
        watched = WatchedCost(cost, self.looks)
        return self.planner.plan(watched, init, bounds=bounds, generator=generator, **more)
