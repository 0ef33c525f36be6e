"""The gradient planners of the reference implementation, as they are; they are here to compare with.

One start, a step of the raw gradient of a cost that is a mean over thousands of numbers, noise after
each step, and the last iterate returned. Its "Adam" builds an Adam optimiser and never steps it.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from jepawm.contracts import Bounds, CostFn
from jepawm.planning.limits import Limits, check_not_negative, check_positive
from jepawm.planning.sampling import clamp, draw_noise
from jepawm.planning.search import Search
from jepawm.types import Plan


@dataclass(frozen=True, kw_only=True)
class ReferenceGD:
    """Descend from one random start with a fixed step; return the last iterate."""

    num_iterations: int = 500
    """Steps."""
    learning_rate: float = 1.0
    """Factor of the gradient."""
    noise_std: float = 0.003
    """Standard deviation of the noise that is added after each step."""
    init_std: float = 1.0
    """Standard deviation of the start around the initial guess; 0 starts at the guess."""

    needs_gradients: ClassVar[bool] = True
    """Whether the cost must be differentiable."""

    def __post_init__(self) -> None:
        """Refuse numbers that are out of range."""
        check_positive(learning_rate=self.learning_rate)
        check_not_negative(noise_std=self.noise_std, init_std=self.init_std)
        self.limits.check()

    @property
    def limits(self) -> Limits:
        """Return what ends the search."""
        return Limits(num_iterations=self.num_iterations)

    def plan(
        self,
        cost: CostFn,
        init: Float[Tensor, "B H A"],
        *,
        bounds: Bounds | None,
        generator: torch.Generator,
    ) -> Plan:
        """Plan from the initial guess `init` `[B, H, A]`."""
        search = Search(cost, init, bounds=bounds, limits=self.limits)
        noise = draw_noise(init, 1, generator=generator)
        actions = init[:, None] + self.init_std * noise  # [B, 1, H, A]
        for _ in search.iterations():
            noise = draw_noise(init, 1, generator=generator)
            gradient, _ = search.gradient(actions)
            moved = actions - self.learning_rate * gradient
            actions = clamp(moved + self.noise_std * noise, bounds)
        return search.plan_of(actions[:, 0])


@dataclass(frozen=True, kw_only=True)
class ReferenceAdam:
    """Do what the reference's "Adam" does, which is `ReferenceGD`: the betas have no effect there."""

    num_iterations: int = 500
    """Steps."""
    learning_rate: float = 1.0
    """Factor of the gradient, not Adam's step size."""
    noise_std: float = 0.003
    """Standard deviation of the noise that is added after each step."""
    init_std: float = 1.0
    """Standard deviation of the start around the initial guess; 0 starts at the guess."""

    needs_gradients: ClassVar[bool] = True
    """Whether the cost must be differentiable."""

    def __post_init__(self) -> None:
        """Refuse numbers that are out of range."""
        self._descent()

    def plan(
        self,
        cost: CostFn,
        init: Float[Tensor, "B H A"],
        *,
        bounds: Bounds | None,
        generator: torch.Generator,
    ) -> Plan:
        """Plan from the initial guess `init` `[B, H, A]`."""
        return self._descent().plan(cost, init, bounds=bounds, generator=generator)

    def _descent(self) -> ReferenceGD:
        return ReferenceGD(
            num_iterations=self.num_iterations,
            learning_rate=self.learning_rate,
            noise_std=self.noise_std,
            init_std=self.init_std,
        )
