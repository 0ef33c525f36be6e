"""Sample first, then descend: a planner that samples finds the valley, gradients its floor."""

from dataclasses import dataclass, replace
from time import perf_counter
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from jepawm.contracts import Bounds, CostFn
from jepawm.planning.gradient import GradientDescent
from jepawm.planning.icem import ICEM
from jepawm.planning.limits import Limits, check_count
from jepawm.types import Plan


@dataclass(frozen=True, kw_only=True)
class Hybrid:
    """Refine the plan of a few iterations of sampling by a few gradient steps."""

    sampler: ICEM = ICEM(num_samples=64, num_iterations=3, init_std=0.5)
    """Planner that samples."""
    refiner: GradientDescent = GradientDescent(num_starts=4, num_iterations=15, init_std=0.3)
    """Planner that starts from what the sampler found."""
    time_budget_s: float | None = None
    """Wall seconds of a plan; the sampler gets half, the refiner the rest, and is left out if that is
    less than a quarter. None: the parts' own limits."""

    num_proposals: int = 0
    """Plans of a learned proposer that the sampler starts from; 0: none."""
    needs_gradients: ClassVar[bool] = True
    """Whether the cost must be differentiable."""

    def __post_init__(self) -> None:
        """Refuse numbers that are out of range."""
        check_count("num_proposals", self.num_proposals, least=0)
        Limits(num_iterations=1, time_budget_s=self.time_budget_s).check()

    def plan(
        self,
        cost: CostFn,
        init: Float[Tensor, "B H A"],
        *,
        bounds: Bounds | None,
        generator: torch.Generator,
        proposals: Float[Tensor, "B P H A"] | None = None,
    ) -> Plan:
        """Plan from the initial guess `init` `[B, H, A]`."""
        sampler, refiner, began = self.sampler, self.refiner, perf_counter()
        if self.time_budget_s is not None:
            sampler = replace(sampler, time_budget_s=self.time_budget_s / 2)
        found = sampler.plan(cost, init, bounds=bounds, generator=generator, proposals=proposals)
        if self.time_budget_s is not None:
            left = self.time_budget_s - (perf_counter() - began)
            if left < self.time_budget_s / 4:
                return found
            refiner = replace(refiner, time_budget_s=left)
        refined = refiner.plan(cost, found.actions, bounds=bounds, generator=generator)
        return replace(
            refined,
            history=torch.cat([found.history, refined.history]),
            num_dropped=found.num_dropped + refined.num_dropped,
        )
