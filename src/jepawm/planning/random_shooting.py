"""Random shooting: draw plans and take the best; what any planner has to beat."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from jepawm.contracts import Bounds, CostFn
from jepawm.planning.limits import Limits, check_count, check_positive
from jepawm.planning.sampling import clamp, draw_noise
from jepawm.planning.search import Search
from jepawm.types import Plan


@dataclass(frozen=True, kw_only=True)
class RandomShooting:
    """Draw plans around the initial guess, never refit, return the best one."""

    num_samples: int = 300
    """Candidates per problem and iteration."""
    num_iterations: int = 30
    """Rounds of drawing; the default is the budget of the paper's CEM."""
    std: float = 1.0
    """Standard deviation of the candidates, in units of normalised actions."""
    time_budget_s: float | None = None
    """Wall seconds of a plan; None: no limit."""
    needs_gradients: ClassVar[bool] = False
    """Whether the cost must be differentiable."""

    def __post_init__(self) -> None:
        """Refuse numbers that are out of range."""
        check_count("num_samples", self.num_samples, least=1)
        check_positive(std=self.std)
        self.limits.check()

    @property
    def limits(self) -> Limits:
        """Return what ends the search."""
        return Limits(num_iterations=self.num_iterations, time_budget_s=self.time_budget_s)

    def plan(
        self,
        cost: CostFn,
        init: Float[Tensor, "B H A"],
        *,
        bounds: Bounds | None,
        generator: torch.Generator,
    ) -> Plan:
        """Plan around `init` `[B, H, A]`, which is itself the first candidate of each round."""
        search = Search(cost, init, bounds=bounds, limits=self.limits)
        for _ in search.iterations():
            noise = draw_noise(init, self.num_samples, generator=generator)
            noise[:, 0] = 0.0
            search.evaluate(clamp(init[:, None] + self.std * noise, bounds))
        return search.best_plan()
