"""Take what a learned proposer proposes: the plan that it rates best, or the cheapest of some."""

import logging
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from jepawm.contracts import Bounds, CostFn, CostOfProblems
from jepawm.errors import UserError
from jepawm.planning.gradient import FAST, GradientDescent
from jepawm.planning.limits import Limits, check_count, check_positive
from jepawm.planning.sampling import check_problem, clamp, take
from jepawm.planning.search import Search
from jepawm.types import Plan

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class BestOf:
    """Evaluate proposals and take the cheapest, refined if asked for; search where they are poor.

    Without proposals the initial guess is the only one. A problem whose proposals were all dropped
    is always searched.
    """

    num_proposals: int = 8
    """Plans of a learned proposer to choose from."""
    verify: bool = True
    """Whether the world model evaluates them. If not, the plan that the proposer rates best is
    executed unseen, and its cost is NaN."""
    num_refined: int = 0
    """Proposals, the cheapest ones, that descend from where they are; 0: none."""
    refiner: GradientDescent = GradientDescent(
        num_iterations=20, learning_rate=0.1, action_decay=0.05, trust_region=1.0
    )
    """How they descend; its `num_starts` is `num_refined`."""
    poor_above: float | None = None
    """Part of the initial guess's cost above which a plan is poor and its problem is searched;
    None: whatever the plan costs."""
    search: GradientDescent = FAST
    """Planner that searches; the cheaper plan is taken."""
    needs_gradients: ClassVar[bool] = False
    """Whether the cost must be differentiable."""
    sees_dropped: ClassVar[bool] = True
    """Whether proposals come with what was no number in them; a search gets the guess instead."""

    def __post_init__(self) -> None:
        """Refuse numbers that are out of range."""
        check_count("num_proposals", self.num_proposals, least=1)
        check_count("num_refined", self.num_refined, least=0)
        if self.poor_above is not None:
            check_positive(poor_above=self.poor_above)
        for name, needed in (("num_refined", self.num_refined), ("poor_above", self.poor_above)):
            if needed and not self.verify:
                raise UserError(f"planner.{name} = {needed} needs planner.verify = true")
        if self.num_refined > self.num_proposals:
            raise UserError(
                f"planner.num_refined = {self.num_refined} is more than planner.num_proposals = "
                f"{self.num_proposals}; refine fewer or ask for more"
            )

    def plan(
        self,
        cost: CostFn,
        init: Float[Tensor, "B H A"],
        *,
        bounds: Bounds | None,
        generator: torch.Generator,
        proposals: Float[Tensor, "B P H A"] | None = None,
    ) -> Plan:
        """Choose among proposals `[B, P, H, A]`, the one that is rated best first."""
        check_problem(init, bounds)
        given = init[:, None] if proposals is None else proposals
        usable = given.isfinite().all(-1).all(-1)  # [B, P]
        first = given[torch.arange(len(given)), usable.long().argmax(1)]  # [B, H, A]
        missing = ~usable.any(1)  # [B]
        first = torch.where(missing[:, None, None], init, first)
        plans = clamp(torch.where(usable[:, :, None, None], given, first[:, None]), bounds)
        if not self.verify and proposals is not None:
            unknown = init.new_full((len(init),), float("nan"))
            found = Plan(actions=plans[:, 0], cost=unknown, history=unknown[None, :][:0])
        else:
            found = self._verified(cost, init, plans, bounds=bounds, generator=generator)
        poor = missing
        if self.poor_above is not None:
            guess = cost(clamp(init[:, None], bounds))[:, 0]
            poor = poor | (found.cost > self.poor_above * guess)
        if not bool(poor.any()):
            return found
        logger.info("searching %d of %d problems, whose proposals are poor", poor.sum(), len(poor))
        return self._searched(cost, init, found, poor, bounds=bounds, generator=generator)

    def _verified(
        self,
        cost: CostFn,
        init: Float[Tensor, "B H A"],
        plans: Float[Tensor, "B P H A"],
        *,
        bounds: Bounds | None,
        generator: torch.Generator,
    ) -> Plan:
        """Return the cheapest plan, or the cheapest one after descending from the cheapest."""
        search = Search(cost, init, bounds=bounds, limits=Limits(num_iterations=1))
        costs = search.evaluate(plans)
        found = search.best_plan()
        if not self.num_refined:
            return found
        best = take(plans, costs.argsort(dim=1, stable=True)[:, : self.num_refined])
        refiner = replace(self.refiner, num_starts=best.shape[1])
        refined = refiner.plan(cost, init, bounds=bounds, generator=generator, proposals=best)
        return replace(
            refined,
            history=torch.cat([found.history, refined.history]),
            num_dropped=found.num_dropped + refined.num_dropped,
        )

    def _searched(
        self,
        cost: CostFn,
        init: Float[Tensor, "B H A"],
        found: Plan,
        poor: Bool[Tensor, " B"],
        *,
        bounds: Bounds | None,
        generator: torch.Generator,
    ) -> Plan:
        """Return the plans found, better ones in place of poor ones where a search finds them."""
        rows = (
            poor.nonzero().flatten()
            if isinstance(cost, CostOfProblems)
            else torch.arange(len(poor))
        )
        of_rows = cost.of(rows) if isinstance(cost, CostOfProblems) else cost
        searched = self.search.plan(of_rows, init[rows], bounds=bounds, generator=generator)
        better = poor[rows] & ~(found.cost[rows] <= searched.cost)
        actions, costs = found.actions.clone(), found.cost.clone()
        actions[rows[better]], costs[rows[better]] = searched.actions[better], searched.cost[better]
        return replace(
            found,
            actions=actions,
            cost=costs,
            num_dropped=found.num_dropped + searched.num_dropped,
            num_searched=int(poor.sum()),
        )
