"""What all sampling planners share: checks, noise, bounds, and costs that are not numbers."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from jepawm.errors import UserError
from jepawm.protocols import Bounds


def check_problem(init: Float[Tensor, "B H A"], bounds: Bounds | None) -> None:
    """Check an initial guess `[B, H, A]` and bounds `[A]`.

    Raises:
        UserError: if the horizon is 0, or a bound is not a number, too short, or reversed.
    """
    if init.shape[1] == 0:
        raise UserError("the planning horizon is 0; give at least 1 step")
    if bounds is None:
        return
    low, high = bounds
    if low.shape != init.shape[2:] or high.shape != init.shape[2:]:
        shapes = f"{tuple(low.shape)} and {tuple(high.shape)}"
        raise UserError(f"bounds of shape {shapes} for action blocks of width {init.shape[2]}")
    if bool((~(low <= high)).any()):
        worst = int((~(low <= high)).nonzero()[0])
        raise UserError(
            f"bounds of action dimension {worst}: low {float(low[worst])} is not below "
            f"high {float(high[worst])}; swap or correct them"
        )


def check_count(name: str, value: int, *, least: int) -> None:
    """Check a planner's count.

    Raises:
        UserError: if `value` is below `least`.
    """
    if value < least:
        raise UserError(f"planner.{name} = {value}; give at least {least}")


def draw_noise(
    init: Float[Tensor, "B H A"], num_samples: int, *, generator: torch.Generator
) -> Float[Tensor, "B K H A"]:
    """Draw standard normal noise `[B, K, H, A]` on the generator's device, for `init`'s."""
    num_problems, horizon, width = init.shape
    shape = (num_problems, num_samples, horizon, width)
    noise = torch.randn(shape, generator=generator, device=generator.device, dtype=init.dtype)
    return noise.to(init.device)


def clamp(actions: Float[Tensor, "B K H A"], bounds: Bounds | None) -> Float[Tensor, "B K H A"]:
    """Move actions `[B, K, H, A]` inside the bounds; None means that there are none."""
    return actions if bounds is None else torch.clamp(actions, bounds[0], bounds[1])


@dataclass(frozen=True, kw_only=True)
class CandidateCosts:
    """Costs of candidates that can be ranked."""

    cost: Float[Tensor, "B K"]
    """Costs `[B, K]`; infinite for candidates that were dropped."""
    usable: Bool[Tensor, "B K"]
    """Whether a candidate `[B, K]` has a finite cost."""

    @property
    def num_dropped(self) -> int:
        """Return how many candidates were dropped."""
        return int((~self.usable).sum())


def drop_unusable(cost: Float[Tensor, "B K"]) -> CandidateCosts:
    """Rank candidates whose cost `[B, K]` is not finite behind all others.

    Raises:
        UserError: if a problem has no candidate with a finite cost.
    """
    usable = cost.isfinite()
    hopeless = ~usable.any(1)
    if bool(hopeless.any()):
        problem = int(hopeless.nonzero()[0])
        raise UserError(
            f"the cost of every candidate of problem {problem} is NaN or infinite; check that the "
            "model's weights, the observation and the goal are finite"
        )
    return CandidateCosts(cost=cost.masked_fill(~usable, float("inf")), usable=usable)
