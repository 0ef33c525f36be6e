"""The improved cross-entropy method: coloured noise, kept elites, ever fewer candidates."""

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from jepawm.contracts import Bounds, CostFn
from jepawm.errors import UserError
from jepawm.planning.limits import (
    Limits,
    check_count,
    check_elites,
    check_not_negative,
    check_part,
    check_positive,
)
from jepawm.planning.sampling import Gaussian, clamp, draw_noise, put_first, refit, take
from jepawm.planning.search import Search
from jepawm.types import Plan


@dataclass(frozen=True, kw_only=True)
class ICEM:
    """Refit a normal distribution to the best plans, of this iteration and those before (iCEM).

    Pinneri et al. 2020 (arXiv 2008.06389). The best candidate is returned, not the mean. Their
    shift of the plan between replannings is the agent's `warm_start`.
    """

    num_samples: int = 100
    """Candidates per problem in the first iteration."""
    num_elites: int = 10
    """Candidates that the distribution is refitted to."""
    num_iterations: int = 10
    """Refits."""
    init_std: float = 1.0
    """Standard deviation at the start, in units of normalised actions."""
    color: float = 2.0
    """Exponent of the noise over the horizon: 0 white, 1 pink, 2 red."""
    decay: float = 1.25
    """Each iteration draws this factor fewer candidates, but at least twice the elites."""
    num_kept: int = 3
    """Elites that compete again in the next iteration, at no cost."""
    momentum_mean: float = 0.1
    """Part of the old mean that is kept at each refit, 0 to 1."""
    momentum_std: float = 0.1
    """Part of the old standard deviation that is kept at each refit, 0 to 1."""
    min_std: float = 0.0
    """Least standard deviation after a refit."""
    action_repeat: int = 1
    """Environment actions of a block that share one value: 1, or the frameskip."""
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
        check_not_negative(color=self.color, min_std=self.min_std)
        check_part(momentum_mean=self.momentum_mean, momentum_std=self.momentum_std)
        check_not_negative(**{"decay - 1": self.decay - 1.0})
        check_count("num_kept", self.num_kept, least=0)
        check_count("action_repeat", self.action_repeat, least=1)
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
        """Plan from the initial mean `init` `[B, H, A]`, which is itself a candidate."""
        if self.action_repeat > 1:
            if proposals is not None:
                raise UserError(
                    "planner.action_repeat repeats actions, which proposals do not; leave "
                    "planner.action_repeat or planner.num_proposals"
                )
            return _plan_repeated(self, cost, init=init, bounds=bounds, generator=generator)
        search = Search(cost, init, bounds=bounds, limits=self.limits)
        start = init if proposals is None else proposals[:, 0]
        state = Gaussian(mean=start, std=torch.full_like(init, self.init_std))
        kept, kept_cost = init[:, None][:, :0], init[:, :0, 0]  # [B, 0, H, A], [B, 0]
        for iteration in search.iterations():
            count = max(round(self.num_samples * self.decay**-iteration), 2 * self.num_elites)
            noise = draw_noise(init, count, generator=generator, color=self.color)
            samples = torch.addcmul(state.mean[:, None], state.std[:, None], noise)
            samples[:, 0] = state.mean
            samples = clamp(put_first(samples, None if iteration else proposals), bounds)
            values = torch.cat([search.evaluate(samples), kept_cost], dim=1)
            lowest = values.topk(self.num_elites, dim=1, largest=False)
            elites = take(torch.cat([samples, kept], dim=1), lowest.indices)
            state = refit(
                state,
                elites,
                cost=lowest.values,
                momentum_mean=self.momentum_mean,
                momentum_std=self.momentum_std,
                min_std=self.min_std,
            )
            kept, kept_cost = elites[:, : self.num_kept], lowest.values[:, : self.num_kept]
        return search.best_plan()


def _plan_repeated(
    planner: ICEM,
    cost: CostFn,
    *,
    init: Float[Tensor, "B H A"],
    bounds: Bounds | None,
    generator: torch.Generator,
) -> Plan:
    """Plan actions `[B, H, A / action_repeat]` and repeat each of them in its block.

    A start that is not so repeated is replaced by its mean; bounds hold for every repetition.
    """
    num_repeats, width = planner.action_repeat, init.shape[2]
    if width % num_repeats:
        raise UserError(
            f"planner.action_repeat = {num_repeats} does not divide an action block of width "
            f"{width}; give 1 or the frameskip"
        )
    if bounds is not None:
        low, high = (bound.unflatten(0, (num_repeats, -1)) for bound in bounds)
        bounds = (low.amax(0), high.amin(0))
    plan = replace(planner, action_repeat=1).plan(
        lambda actions: cost(actions.repeat(1, 1, 1, num_repeats)),
        init.unflatten(2, (num_repeats, -1)).mean(2),
        bounds=bounds,
        generator=generator,
    )
    return replace(plan, actions=plan.actions.repeat(1, 1, num_repeats))
