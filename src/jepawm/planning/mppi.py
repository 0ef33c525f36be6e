"""Model predictive path integral control: an average of plans, weighted by their cost."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from jepawm.contracts import Bounds, CostFn
from jepawm.planning.limits import Limits, check_count, check_not_negative, check_positive
from jepawm.planning.sampling import clamp, draw_noise, put_first
from jepawm.planning.search import Search
from jepawm.types import Plan


@dataclass(frozen=True, kw_only=True)
class MPPI:
    """Average plans with weights `exp(-cost / temperature)`, repeat with less noise.

    Williams et al. 2017. The better of the last mean and the best candidate is returned.
    """

    num_samples: int = 300
    """Candidates per problem and iteration."""
    num_iterations: int = 30
    """Averages."""
    init_std: float = 1.0
    """Standard deviation of the candidates at the start, in units of normalised actions."""
    std_decay: float = 0.9
    """Factor of the standard deviation from one iteration to the next, above 0 to 1."""
    temperature: float = 0.1
    """Temperature, in units of the standard deviation of the candidates' costs; the lower, the
    fewer candidates count."""
    color: float = 0.0
    """Exponent of the noise over the horizon: 0 white, 1 pink, 2 red."""
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
        check_count("num_samples", self.num_samples, least=2)
        check_positive(
            init_std=self.init_std, temperature=self.temperature, std_decay=self.std_decay
        )
        check_not_negative(**{"1 - std_decay": 1.0 - self.std_decay, "color": self.color})
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
        """Plan from the initial mean `init` `[B, H, A]`."""
        search = Search(cost, init, bounds=bounds, limits=self.limits)
        start = init[:, None] if proposals is None else proposals[:, :1]
        mean = clamp(start, bounds)  # [B, 1, H, A]
        for iteration in search.iterations():
            noise = draw_noise(init, self.num_samples, generator=generator, color=self.color)
            noise[:, 0] = 0.0
            std = self.init_std * self.std_decay**iteration
            samples = put_first(mean + std * noise, None if iteration else proposals)
            samples = clamp(samples, bounds)  # [B, K, H, A]
            weights = path_weights(search.evaluate(samples), temperature=self.temperature)
            mean = (weights[:, :, None, None] * samples).sum(1, keepdim=True)
        return search.better_of(clamp(mean, bounds)[:, 0])


def path_weights(cost: Float[Tensor, "B K"], *, temperature: float) -> Float[Tensor, "B K"]:
    """Return weights `[B, K]` that add up to 1, 0 for an infinite cost.

    The temperature is in units of the standard deviation of the finite costs.
    """
    usable = cost.isfinite()
    count = usable.sum(1, keepdim=True)
    finite = cost.masked_fill(~usable, 0.0)
    mean = finite.sum(1, keepdim=True) / count
    squares = (finite - mean).square().masked_fill(~usable, 0.0)
    spread = (squares.sum(1, keepdim=True) / count).sqrt()
    above = cost - cost.amin(1, keepdim=True)
    tiny = torch.finfo(cost.dtype).tiny
    return torch.softmax(-above / (temperature * spread).clamp(min=tiny), dim=1)
