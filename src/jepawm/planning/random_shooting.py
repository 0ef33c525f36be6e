"""Random shooting: draw plans once and take the best; what any planner has to beat."""

import logging
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from jepawm.errors import UserError
from jepawm.planning.sampling import (
    check_count,
    check_problem,
    clamp,
    draw_noise,
    drop_unusable,
)
from jepawm.protocols import Bounds, CostFn
from jepawm.types import Plan

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class RandomShooting:
    """Draw plans around the initial guess, never refit, return the best one."""

    num_samples: int = 300
    """Candidates per problem and iteration."""
    num_iterations: int = 30
    """Rounds of drawing; the default is the budget of the paper's CEM."""
    std: float = 1.0
    """Standard deviation of the candidates, in units of normalised actions."""

    def __post_init__(self) -> None:
        """Check the fields.

        Raises:
            UserError: if a number is out of range; the message says what is allowed.
        """
        check_count("num_samples", self.num_samples, least=1)
        check_count("num_iterations", self.num_iterations, least=1)
        if not self.std > 0.0:
            raise UserError(f"planner.std = {self.std}; give a number above 0")

    def plan(
        self,
        cost: CostFn,
        init: Float[Tensor, "B H A"],
        *,
        bounds: Bounds | None,
        generator: torch.Generator,
    ) -> Plan:
        """Plan around `init` `[B, H, A]`, which is itself the first candidate of each round.

        Raises:
            UserError: if the horizon is 0, a bound is reversed, or no candidate has a finite cost.
        """
        check_problem(init, bounds)
        problems = torch.arange(init.shape[0], device=init.device)
        best = init
        lowest = torch.full_like(init[:, 0, 0], float("inf"))  # [B]
        history: list[Tensor] = []
        num_dropped = 0
        for _ in range(self.num_iterations):
            noise = draw_noise(init, self.num_samples, generator=generator)
            noise[:, 0] = 0.0
            samples = clamp(init[:, None] + self.std * noise, bounds)  # [B, K, H, A]
            ranked = drop_unusable(cost(samples))
            least, index = ranked.cost.min(1)
            better = least < lowest
            best = torch.where(better[:, None, None], samples[problems, index], best)
            lowest = torch.where(better, least, lowest)
            history.append(least)
            num_dropped += ranked.num_dropped
        if num_dropped:
            logger.warning("dropped %d candidates without a finite cost", num_dropped)
        return Plan(
            actions=best, cost=lowest, history=torch.stack(history), num_dropped=num_dropped
        )
