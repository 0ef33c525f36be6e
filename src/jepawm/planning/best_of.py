"""Take what a learned proposer proposes: the plan that it rates best, or the cheapest of some."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, TypeGuard

import torch
from jaxtyping import Float
from torch import Tensor

from jepawm.contracts import Bounds, CostFn, Planner, TakesProposals
from jepawm.planning.limits import Limits, check_count
from jepawm.planning.sampling import check_problem, clamp
from jepawm.planning.search import Search
from jepawm.types import Plan

Propose = Callable[..., Float[Tensor, "B P H A"]]
"""Return `num_plans` plans of `horizon` blocks, the most promising one first."""


@dataclass(frozen=True, kw_only=True)
class BestOf:
    """Evaluate proposals and take the cheapest; without proposals the initial guess is the plan."""

    num_proposals: int = 8
    """Plans of a learned proposer to choose from."""
    verify: bool = True
    """Whether the world model evaluates them. If not, the plan that the proposer rates best is
    executed unseen, and its cost is NaN."""
    needs_gradients: ClassVar[bool] = False
    """Whether the cost must be differentiable."""

    def __post_init__(self) -> None:
        """Refuse numbers that are out of range."""
        check_count("num_proposals", self.num_proposals, least=1)

    def plan(
        self,
        cost: CostFn,
        init: Float[Tensor, "B H A"],
        *,
        bounds: Bounds | None,
        generator: torch.Generator,  # noqa: ARG002 (nothing is drawn)
        proposals: Float[Tensor, "B P H A"] | None = None,
    ) -> Plan:
        """Choose among proposals `[B, P, H, A]`, the one that is rated best first."""
        check_problem(init, bounds)
        plans = clamp(init[:, None] if proposals is None else proposals, bounds)
        if self.verify or proposals is None:
            search = Search(cost, init, bounds=bounds, limits=Limits(num_iterations=1))
            search.evaluate(plans)
            return search.best_plan()
        unknown = init.new_full((len(init),), float("nan"))
        return Plan(actions=plans[:, 0], cost=unknown, history=unknown[None, :][:0])


def takes_proposals(planner: Planner) -> TypeGuard[TakesProposals]:
    """Return whether a planner asks for proposals."""
    return isinstance(planner, TakesProposals) and planner.num_proposals > 0


def ask(
    propose: Propose, planner: Planner, *, like: Float[Tensor, "B H A"]
) -> tuple[dict[str, Tensor], int]:
    """Return what a planner takes besides a cost and an initial guess, and how many were dropped.

    A proposal that is no number is dropped, and the initial guess `like` takes its place.
    """
    if not takes_proposals(planner):
        return {}, 0
    plans = propose(horizon=like.shape[1], num_plans=planner.num_proposals)
    usable = plans.isfinite().all(-1).all(-1)  # [B, P]
    kept = torch.where(usable[:, :, None, None], plans, like[:, None])
    return {"proposals": kept}, int((~usable).sum())
