"""Take what a learned proposer proposes: the plan that it rates best, or the cheapest of some."""

import logging
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from jepawm.contracts import Bounds, CostFn, CostOfProblems
from jepawm.errors import UserError
from jepawm.planning.draws import of_problems
from jepawm.planning.gradient import FAST, GradientDescent
from jepawm.planning.limits import Limits, check_count, check_not_negative, check_positive
from jepawm.planning.sampling import check_problem, clamp, take
from jepawm.planning.search import Search
from jepawm.types import Plan

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class BestOf:
    """Evaluate proposals and take the cheapest; refine what is not good, search what is poor.

    How good a plan is, is the part that it leaves of the cost of the initial guess, which is evaluated
    beside the proposals. Without proposals the guess is the plan. A problem whose proposals were all
    dropped is always searched.
    """

    num_proposals: int = 8
    """Plans of a learned proposer to choose from."""
    verify: bool = True
    """Whether the world model evaluates them. If not, the plan that the proposer rates best is
    executed unseen, and its cost is NaN."""
    num_refined: int = 0
    """Proposals, the cheapest ones, that descend from where they are; 0: none."""
    refine_above: float = 0.0
    """Part of the guess's cost above which a problem is refined; 0: always."""
    refiner: GradientDescent = GradientDescent(
        num_iterations=20, learning_rate=0.1, action_decay=0.05, trust_region=1.0
    )
    """How proposals descend; its `num_starts` is `num_refined`."""
    poor_above: float | None = None
    """Part of the guess's cost above which a plan is poor and its problem is searched; None: whatever
    the plan costs."""
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
        check_not_negative(refine_above=self.refine_above)
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
        poor = ~usable.any(1)  # [B]
        first = given[torch.arange(len(given)), usable.long().argmax(1)]  # [B, H, A]
        first = torch.where(poor[:, None, None], init, first)
        plans = torch.where(usable[:, :, None, None], given, first[:, None])
        again = partial(_again, cost, init, bounds=bounds, generator=generator)
        if not self.verify and proposals is not None:
            unknown = init.new_full((len(init),), float("nan"))
            found = Plan(
                actions=clamp(first[:, None], bounds)[:, 0],
                cost=unknown,
                history=unknown[None, :][:0],
            )
        else:
            plans = clamp(torch.cat([plans, init[:, None]], dim=1), bounds)
            search = Search(cost, init, bounds=bounds, limits=Limits(num_iterations=1))
            costs = search.evaluate(plans)  # [B, P + 1]
            found, guess = search.best_plan(), costs[:, -1]
            if self.num_refined:
                best = take(plans, costs.argsort(dim=1, stable=True)[:, : self.num_refined])
                refiner = replace(self.refiner, num_starts=best.shape[1])
                fair = found.cost > self.refine_above * guess
                found = again(found, refiner, rows=fair, proposals=best)
            if self.poor_above is not None:
                poor = poor | (found.cost > self.poor_above * guess)
        if bool(poor.any()):
            logger.info("searching %d of %d problems: poor proposals", int(poor.sum()), len(poor))
            found = again(found, self.search, rows=poor)
        return replace(found, num_searched=int(poor.sum()))


def _again(
    cost: CostFn,
    init: Float[Tensor, "B H A"],
    found: Plan,
    planner: GradientDescent,
    *,
    rows: Bool[Tensor, " B"],
    bounds: Bounds | None,
    generator: torch.Generator,
    proposals: Float[Tensor, "B P H A"] | None = None,
) -> Plan:
    """Plan some problems again; return the plans found, cheaper ones in place of theirs.

    Where the cost cannot be had for some problems, all are planned, and those of `rows` taken.
    """
    if not bool(rows.any()):
        return found
    index = rows.nonzero().flatten()
    if isinstance(cost, CostOfProblems):
        cost, init = cost.of(index), init[index]
        proposals = None if proposals is None else proposals[index]
        generator = of_problems(generator, index)
    new = planner.plan(cost, init, bounds=bounds, generator=generator, proposals=proposals)
    if len(new.cost) > len(index):
        new = replace(
            new, actions=new.actions[index], cost=new.cost[index], history=new.history[:, index]
        )
    history = found.cost.expand(len(new.history), -1).clone()  # [I, B]
    history[:, index] = new.history
    better = ~(found.cost[index] <= new.cost)  # also where it was not known
    actions, costs = found.actions.clone(), found.cost.clone()
    actions[index[better]], costs[index[better]] = new.actions[better], new.cost[better]
    return replace(
        found,
        actions=actions,
        cost=costs,
        history=torch.cat([found.history, history]),
        num_dropped=found.num_dropped + new.num_dropped,
    )
