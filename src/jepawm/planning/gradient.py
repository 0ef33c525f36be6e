"""Gradient planners: follow the gradient of the cost from several starts at once."""

import math
from collections.abc import Callable, Iterator, Sequence
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
    check_not_negative,
    check_part,
    check_positive,
)
from jepawm.planning.sampling import clamp, draw_noise, put_first
from jepawm.planning.search import Search
from jepawm.types import Plan

Step = Callable[[Tensor, int], Tensor]
"""Make a direction of the gradients `[B, K, H, A]` of an iteration."""


@dataclass(frozen=True, kw_only=True)
class Adam:
    """Take Adam steps from several starts; return the best iterate of any start.

    The step shrinks to 0 along half a cosine. Bounds are kept by projection after each step.
    """

    num_starts: int = 16
    """Plans per problem that descend side by side; the first starts at the initial guess."""
    num_iterations: int = 40
    """Steps."""
    learning_rate: float = 0.3
    """Size of the first steps, in units of normalised actions."""
    init_std: float = 1.0
    """Standard deviation of the other starts around the initial guess."""
    beta1: float = 0.9
    """Decay of the mean of the gradients."""
    beta2: float = 0.99
    """Decay of the mean of their squares."""
    color: float = 2.0
    """Exponent of the starts' noise over the horizon: 0 white, 1 pink, 2 red."""
    patience: int = 0
    """Iterations without a lower cost after which the search ends; 0: never."""
    time_budget_s: float | None = None
    """Wall seconds of a plan, after which the best iterate is returned; None: no limit."""

    num_proposals: int = 0
    """Plans of a learned proposer that descend first; the other starts are as without them; 0: none."""
    needs_gradients: ClassVar[bool] = True
    """Whether the cost must be differentiable."""

    def __post_init__(self) -> None:
        """Refuse numbers that are out of range."""
        _check(self)
        check_part(beta1=self.beta1, beta2=self.beta2)

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
        """Plan from the initial guess `init` `[B, H, A]`."""
        lengths = _half_cosine(self.num_iterations, first=self.learning_rate, last=0.0)
        stages = [(self.num_starts, lengths)]
        return _plan(
            self,
            cost,
            init=init,
            bounds=bounds,
            generator=generator,
            proposals=proposals,
            stages=stages,
        )

    def new_step(self) -> Step:
        """Return what makes a step of each gradient; it remembers the ones before."""
        mean, square = 0.0, 0.0

        def step(gradient: Tensor, iteration: int) -> Tensor:
            nonlocal mean, square
            mean = self.beta1 * mean + (1 - self.beta1) * gradient
            square = self.beta2 * square + (1 - self.beta2) * gradient.square()
            unbiased = mean / (1 - self.beta1 ** (iteration + 1))
            scale = (square / (1 - self.beta2 ** (iteration + 1))).sqrt()
            return unbiased / scale.clamp(min=torch.finfo(gradient.dtype).tiny)

        return step


@dataclass(frozen=True, kw_only=True)
class GradientDescent:
    """Descend from several starts by steps of one length; return the best iterate of any start.

    The gradient of each plan is scaled to the root mean square 1: latent costs are means over
    thousands of numbers, and their gradients tiny. The step shrinks to 0 along half a cosine.
    With `num_refined` the cheapest descents continue where the others end: each from its best iterate,
    its step shrinking along a second half cosine.
    """

    num_starts: int = 8
    """Plans per problem that descend side by side; the first starts at the initial guess."""
    num_iterations: int = 20
    """Steps of all of them."""
    num_refined: int = 0
    """Descents that continue after these, those that found the lowest costs; 0: none."""
    refine_iterations: int = 45
    """Steps more of those."""
    learning_rate: float = 0.5
    """Root mean square of the first steps, in units of normalised actions."""
    refine_rate: float = 0.2
    """The same where `num_refined` descents are left: the steps before it shrink to it, not to 0."""
    init_std: float = 0.5
    """Standard deviation of the other starts around the initial guess."""
    momentum: float = 0.5
    """Part of the last step that is kept, 0 to 1."""
    action_decay: float = 0.0
    """Part of the plan, times the step, that each step takes away, as AdamW does with weights: what
    the cost does not ask for shrinks to 0, the mean of the recorded actions."""
    color: float = 2.0
    """Exponent of the starts' noise over the horizon: 0 white, 1 pink, 2 red."""
    patience: int = 0
    """Iterations without a lower cost after which the search ends; 0: never."""
    time_budget_s: float | None = None
    """Wall seconds of a plan, after which the best iterate is returned; None: no limit."""

    trust_region: float | None = None
    """Largest change of any number of a plan while it descends in a stage, in units of normalised
    actions; None: any."""
    num_proposals: int = 0
    """Plans of a learned proposer that descend first; the other starts are as without them; 0: none."""
    needs_gradients: ClassVar[bool] = True
    """Whether the cost must be differentiable."""

    def __post_init__(self) -> None:
        """Refuse numbers that are out of range."""
        _check(self)
        check_part(momentum=self.momentum)
        check_count("num_refined", self.num_refined, least=0)
        check_count("refine_iterations", self.refine_iterations, least=1)
        check_positive(refine_rate=self.refine_rate)
        check_not_negative(action_decay=self.action_decay)
        if self.trust_region is not None:
            check_positive(trust_region=self.trust_region)
        if self.num_refined > self.num_starts:
            raise UserError(
                f"planner.num_refined = {self.num_refined} is more than planner.num_starts = "
                f"{self.num_starts}; refine fewer or start more"
            )

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
        """Plan from the initial guess `init` `[B, H, A]`."""
        return _plan(
            self,
            cost,
            init=init,
            bounds=bounds,
            generator=generator,
            proposals=proposals,
            stages=self._stages(),
            decay=self.action_decay,
            region=self.trust_region,
        )

    def _stages(self) -> list[tuple[int, list[float]]]:
        """Return how many descend, and the lengths of their steps, stage by stage."""
        last = self.refine_rate if self.num_refined else 0.0
        lengths = _half_cosine(self.num_iterations, first=self.learning_rate, last=last)
        if not self.num_refined:
            return [(self.num_starts, lengths)]
        finer = _half_cosine(self.refine_iterations, first=self.refine_rate, last=0.0)
        return [(self.num_starts, lengths), (self.num_refined, finer)]

    def new_step(self) -> Step:
        """Return what makes a step of each gradient; it remembers the ones before."""
        velocity = 0.0

        def step(gradient: Tensor, _iteration: int) -> Tensor:
            nonlocal velocity
            length = gradient.square().mean((-2, -1), keepdim=True).sqrt()
            unit = gradient / length.clamp(min=torch.finfo(gradient.dtype).tiny)
            velocity = self.momentum * velocity + (1 - self.momentum) * unit
            return velocity

        return step


def _check(planner: Adam | GradientDescent) -> None:
    check_count("num_starts", planner.num_starts, least=1)
    check_count("num_proposals", planner.num_proposals, least=0)
    check_positive(learning_rate=planner.learning_rate)
    check_not_negative(init_std=planner.init_std, color=planner.color)
    planner.limits.check()


FAST = GradientDescent(
    num_starts=16,
    num_iterations=8,
    num_refined=2,
    refine_iterations=24,
    init_std=0.8,
    action_decay=0.05,
    color=1.0,
)
"""The settings of the preset `fast`."""


def _plan(
    planner: Adam | GradientDescent,
    cost: CostFn,
    *,
    init: Float[Tensor, "B H A"],
    bounds: Bounds | None,
    generator: torch.Generator,
    proposals: Float[Tensor, "B P H A"] | None,
    stages: list[tuple[int, list[float]]],
    decay: float = 0.0,
    region: float | None = None,
) -> Plan:
    """Descend in stages: the number of plans that descend, and the lengths of their steps."""
    limits = replace(planner.limits, num_iterations=sum(len(lengths) for _, lengths in stages))
    search = Search(cost, init, bounds=bounds, limits=limits)
    iterations = search.iterations()
    noise = draw_noise(init, planner.num_starts, generator=generator, color=planner.color)
    noise[:, 0] = 0.0
    starts = put_first(init[:, None] + planner.init_std * noise, proposals)
    plans = clamp(starts, bounds)  # [B, K, H, A]
    costs = plans.new_zeros(plans.shape[:2])  # [B, K]
    for num_kept, lengths in stages:
        plans, costs = _descend(
            search,
            _cheapest(plans, costs, count=num_kept),
            iterations=iterations,
            lengths=lengths,
            step=planner.new_step(),
            bounds=bounds,
            decay=decay,
            region=region,
        )
    return search.best_plan()


def _half_cosine(count: int, *, first: float, last: float) -> list[float]:
    """Return `count` lengths that fall from `first`; `last` would be the next one."""
    return [
        last + (first - last) * 0.5 * (1 + math.cos(math.pi * index / count))
        for index in range(count)
    ]


def _descend(
    search: Search,
    actions: Float[Tensor, "B K H A"],
    *,
    iterations: Iterator[int],
    lengths: Sequence[float],
    step: Step,
    bounds: Bounds | None,
    decay: float,
    region: float | None,
) -> tuple[Float[Tensor, "B K H A"], Float[Tensor, "B K"]]:
    """Move plans by what `step` makes of their gradients; return each one's best iterate and cost.

    It ends with the lengths, or with the search's iterations.
    """
    best = start = actions
    lowest = actions.new_full(actions.shape[:2], float("inf"))  # [B, K]
    for index, (length, _) in enumerate(zip(lengths, iterations, strict=False)):
        gradient, cost = search.gradient(actions)
        better = cost < lowest
        best = torch.where(better[:, :, None, None], actions, best)
        lowest = torch.where(better, cost, lowest)
        direction = step(gradient, index) + decay * actions
        actions = clamp(actions - length * direction, bounds)
        if region is not None:
            actions = torch.clamp(actions, start - region, start + region)
    return best, lowest


def _cheapest(
    plans: Float[Tensor, "B K H A"], costs: Float[Tensor, "B K"], *, count: int
) -> Float[Tensor, "B N H A"]:
    """Return the `count` cheapest of each problem's plans, in their order if costs are equal."""
    index = costs.argsort(dim=1, stable=True)[:, :count]  # [B, N]
    rows = torch.arange(len(plans), device=plans.device)[:, None]
    return plans[rows, index]
