"""The cross-entropy method: the planner of the paper."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from jepawm.contracts import Bounds, CostFn
from jepawm.planning.limits import (
    Limits,
    check_count,
    check_elites,
    check_not_negative,
    check_part,
    check_positive,
)
from jepawm.planning.sampling import (
    Gaussian,
    clamp,
    draw_noise,
    drop_unusable,
    put_first,
    refit,
    take,
)
from jepawm.planning.search import Search
from jepawm.types import Plan, TensorStruct


@dataclass(frozen=True, kw_only=True)
class CEMStep(TensorStruct):
    """One iteration, with all that it looked at."""

    state: Gaussian
    """The distribution after the update."""
    samples: Float[Tensor, "B K H A"]
    """Candidates `[B, K, H, A]` within the bounds."""
    cost: Float[Tensor, "B K"]
    """Their costs `[B, K]`; infinite for dropped candidates."""
    elites: Int[Tensor, "B E"]
    """Indices `[B, E]` of the candidates with the lowest costs, best first."""


@dataclass(frozen=True, kw_only=True)
class CEM:
    """Draw plans, keep the best, refit mean and standard deviation, repeat; return the mean."""

    num_samples: int = 300
    """Candidates per problem and iteration."""
    num_elites: int = 10
    """Candidates that the distribution is refitted to."""
    num_iterations: int = 30
    """Refits."""
    init_std: float = 1.0
    """Standard deviation at the start, in units of normalised actions."""
    momentum_mean: float = 0.0
    """Part of the old mean that is kept at each refit, 0 to 1."""
    momentum_std: float = 0.0
    """Part of the old standard deviation that is kept at each refit, 0 to 1."""
    min_std: float = 0.0
    """Least standard deviation after a refit; the paper has none."""
    patience: int = 0
    """Iterations without a lower cost after which the search ends; 0: never."""
    time_budget_s: float | None = None
    """Wall seconds of a plan, after which the best candidate is returned; None: no limit."""
    num_proposals: int = 0
    """Plans of a learned proposer that compete in the first iteration, around the first of them; 0: none."""
    needs_gradients: ClassVar[bool] = False
    """Whether the cost must be differentiable."""

    def __post_init__(self) -> None:
        """Refuse numbers that are out of range."""
        check_count("num_proposals", self.num_proposals, least=0)
        check_elites(self.num_elites, self.num_samples)
        check_positive(init_std=self.init_std)
        check_not_negative(min_std=self.min_std)
        check_part(momentum_mean=self.momentum_mean, momentum_std=self.momentum_std)
        self.limits.check()

    @property
    def limits(self) -> Limits:
        """Return what ends the search."""
        return Limits(
            num_iterations=self.num_iterations,
            patience=self.patience,
            time_budget_s=self.time_budget_s,
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
        """Plan from the initial mean `init` `[B, H, A]`, or from proposals, the best one first."""
        search = Search(cost, init, bounds=bounds, limits=self.limits)
        start = init if proposals is None else proposals[:, 0]
        state = self.start(clamp(start[:, None], bounds)[:, 0])
        for iteration in search.iterations():
            noise = draw_noise(init, self.num_samples, generator=generator)
            if iteration == 0 and proposals is not None:
                noise = put_first(noise, (proposals - state.mean[:, None]) / self.init_std)
            state = self.step(state, noise, cost=search.evaluate, bounds=bounds).state
        mean = clamp(state.mean[:, None], bounds)[:, 0]  # [B, H, A]; it can round over a bound
        return search.plan_of(mean)

    def start(self, init: Float[Tensor, "B H A"]) -> Gaussian:
        """Return the distribution before the first iteration, around `init` `[B, H, A]`."""
        return Gaussian(mean=init, std=torch.full_like(init, self.init_std))

    def step(
        self,
        state: Gaussian,
        noise: Float[Tensor, "B K H A"],
        *,
        cost: CostFn,
        bounds: Bounds | None,
    ) -> CEMStep:
        """Do one iteration with standard normal `noise` `[B, K, H, A]`.

        Candidate 0 is the mean itself.
        """
        samples = torch.addcmul(state.mean[:, None], state.std[:, None], noise)  # [B, K, H, A]
        samples[:, 0] = state.mean
        samples = clamp(samples, bounds)
        costs = drop_unusable(cost(samples))
        lowest = costs.topk(self.num_elites, dim=1, largest=False)
        new = refit(
            state,
            take(samples, lowest.indices),
            cost=lowest.values,
            momentum_mean=self.momentum_mean,
            momentum_std=self.momentum_std,
            min_std=self.min_std,
        )
        return CEMStep(state=new, samples=samples, cost=costs, elites=lowest.indices)
