"""Gradient planners: follow the gradient of the cost from several starts at once."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from jepawm.planning.sampling import (
    check_count,
    check_not_negative,
    check_part,
    check_positive,
    clamp,
    draw_noise,
)
from jepawm.planning.search import Search, check_limits
from jepawm.protocols import Bounds, CostFn
from jepawm.types import Plan


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

    needs_gradients: ClassVar[bool] = True
    """Whether the cost must be differentiable."""

    def __post_init__(self) -> None:
        """Check the fields.

        Raises:
            UserError: if a number is out of range; the message says what is allowed.
        """
        _check(self)
        check_part(beta1=self.beta1, beta2=self.beta2)

    def plan(
        self,
        cost: CostFn,
        init: Float[Tensor, "B H A"],
        *,
        bounds: Bounds | None,
        generator: torch.Generator,
    ) -> Plan:
        """Plan from the initial guess `init` `[B, H, A]`.

        Raises:
            UserError: if the horizon is 0, a bound is reversed, or the cost has no gradient.
        """
        mean, square = 0.0, 0.0

        def step(gradient: Tensor, iteration: int) -> Tensor:
            nonlocal mean, square
            mean = self.beta1 * mean + (1 - self.beta1) * gradient
            square = self.beta2 * square + (1 - self.beta2) * gradient.square()
            unbiased = mean / (1 - self.beta1 ** (iteration + 1))
            scale = (square / (1 - self.beta2 ** (iteration + 1))).sqrt()
            return unbiased / scale.clamp(min=torch.finfo(gradient.dtype).tiny)

        return _descend(self, step, cost, init=init, bounds=bounds, generator=generator)


@dataclass(frozen=True, kw_only=True)
class GradientDescent:
    """Descend from several starts by steps of one length; return the best iterate of any start.

    The gradient of each plan is scaled to the root mean square 1: latent costs are means over
    thousands of numbers, and their gradients tiny. The step shrinks to 0 along half a cosine.
    """

    num_starts: int = 8
    """Plans per problem that descend side by side; the first starts at the initial guess."""
    num_iterations: int = 20
    """Steps."""
    learning_rate: float = 0.5
    """Root mean square of the first steps, in units of normalised actions."""
    init_std: float = 0.5
    """Standard deviation of the other starts around the initial guess."""
    momentum: float = 0.5
    """Part of the last step that is kept, 0 to 1."""
    color: float = 2.0
    """Exponent of the starts' noise over the horizon: 0 white, 1 pink, 2 red."""
    patience: int = 0
    """Iterations without a lower cost after which the search ends; 0: never."""
    time_budget_s: float | None = None
    """Wall seconds of a plan, after which the best iterate is returned; None: no limit."""

    needs_gradients: ClassVar[bool] = True
    """Whether the cost must be differentiable."""

    def __post_init__(self) -> None:
        """Check the fields.

        Raises:
            UserError: if a number is out of range; the message says what is allowed.
        """
        _check(self)
        check_part(momentum=self.momentum)

    def plan(
        self,
        cost: CostFn,
        init: Float[Tensor, "B H A"],
        *,
        bounds: Bounds | None,
        generator: torch.Generator,
    ) -> Plan:
        """Plan from the initial guess `init` `[B, H, A]`.

        Raises:
            UserError: if the horizon is 0, a bound is reversed, or the cost has no gradient.
        """
        velocity = 0.0

        def step(gradient: Tensor, _iteration: int) -> Tensor:
            nonlocal velocity
            length = gradient.square().mean((-2, -1), keepdim=True).sqrt()
            unit = gradient / length.clamp(min=torch.finfo(gradient.dtype).tiny)
            velocity = self.momentum * velocity + (1 - self.momentum) * unit
            return velocity

        return _descend(self, step, cost, init=init, bounds=bounds, generator=generator)


@runtime_checkable
class _Settings(Protocol):
    """What both planners have."""

    @property
    def num_starts(self) -> int: ...
    @property
    def num_iterations(self) -> int: ...
    @property
    def learning_rate(self) -> float: ...
    @property
    def init_std(self) -> float: ...
    @property
    def color(self) -> float: ...
    @property
    def patience(self) -> int: ...
    @property
    def time_budget_s(self) -> float | None: ...


def _check(settings: _Settings) -> None:
    check_count("num_starts", settings.num_starts, least=1)
    check_positive(learning_rate=settings.learning_rate)
    check_not_negative(init_std=settings.init_std, color=settings.color)
    check_limits(settings.num_iterations, settings.patience, time_budget_s=settings.time_budget_s)


def _descend(
    settings: _Settings,
    step: Callable[[Tensor, int], Tensor],
    cost: CostFn,
    *,
    init: Float[Tensor, "B H A"],
    bounds: Bounds | None,
    generator: torch.Generator,
) -> Plan:
    """Move the starts by what `step` makes of their gradients `[B, K, H, A]`."""
    count = settings.num_iterations
    search = Search(
        cost,
        init,
        bounds=bounds,
        num_iterations=count,
        patience=settings.patience,
        time_budget_s=settings.time_budget_s,
    )
    noise = draw_noise(init, settings.num_starts, generator=generator, color=settings.color)
    noise[:, 0] = 0.0
    actions = clamp(init[:, None] + settings.init_std * noise, bounds)  # [B, K, H, A]
    for iteration in search.iterations():
        direction = step(search.gradient(actions), iteration)
        length = settings.learning_rate * 0.5 * (1 + math.cos(math.pi * iteration / count))
        actions = clamp(actions - length * direction, bounds)
    return search.best_plan()
