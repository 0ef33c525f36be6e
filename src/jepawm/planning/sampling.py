"""What planners share: noise, bounds, costs without a number, the refit of a Gaussian."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from jepawm.contracts import Bounds
from jepawm.errors import UserError
from jepawm.planning.draws import ProblemGenerators
from jepawm.types import TensorStruct


def check_problem(init: Float[Tensor, "B H A"], bounds: Bounds | None) -> None:
    """Check an initial guess `[B, H, A]` and bounds `[A]`."""
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


def draw_noise(
    init: Float[Tensor, "B H A"],
    num_samples: int,
    *,
    generator: torch.Generator,
    color: float = 0.0,
) -> Float[Tensor, "B K H A"]:
    """Draw normal noise `[B, K, H, A]` of variance 1 on the generator's device, for `init`'s.

    Over the horizon its power falls with the frequency to the power of minus `color`: 0 is white
    noise, 1 pink, 2 red; the larger, the longer an action keeps its direction.
    """
    num_problems, horizon, width = init.shape
    # Noise that is made by frequencies is periodic; the half that is cut off breaks the period.
    length = horizon if color == 0.0 else 2 * horizon
    shape = (num_problems, num_samples, length, width)
    if isinstance(generator, ProblemGenerators):
        noise = generator.normal(shape, dtype=init.dtype)
    else:
        noise = torch.randn(shape, generator=generator, device=generator.device, dtype=init.dtype)
    noise = noise.to(init.device)
    if color == 0.0:
        return noise
    frequencies = torch.fft.fftfreq(length, device=init.device, dtype=init.dtype).abs()
    gain = frequencies.clamp(min=1.0 / length) ** (-color / 2)  # [2H]
    gain = gain / gain.square().mean().sqrt()
    colored = torch.fft.ifft(torch.fft.fft(noise, dim=2) * gain[:, None], dim=2).real
    return colored[:, :, :horizon]


def clamp(actions: Float[Tensor, "B K H A"], bounds: Bounds | None) -> Float[Tensor, "B K H A"]:
    """Move actions `[B, K, H, A]` inside the bounds; None means that there are none."""
    return actions if bounds is None else torch.clamp(actions, bounds[0], bounds[1])


def drop_unusable(cost: Float[Tensor, "B K"]) -> Float[Tensor, "B K"]:
    """Give candidates whose cost `[B, K]` is not a finite number an infinite one, behind all others."""
    usable = cost.isfinite()
    hopeless = ~usable.any(1)
    if bool(hopeless.any()):
        problem = int(hopeless.nonzero()[0])
        raise UserError(
            f"the cost of every candidate of problem {problem} is NaN or infinite; check that the "
            "model's weights, the observation and the goal are finite"
        )
    return cost.masked_fill(~usable, float("inf"))


def put_first(
    samples: Float[Tensor, "B K H A"], proposals: Float[Tensor, "B P H A"] | None
) -> Float[Tensor, "B K H A"]:
    """Return candidates of which the first `P`, at most all, are the proposals; None: unchanged."""
    if proposals is None:
        return samples
    return torch.cat([proposals, samples[:, proposals.shape[1] :]], dim=1)[:, : samples.shape[1]]


@dataclass(frozen=True, kw_only=True)
class Gaussian(TensorStruct):
    """A normal distribution over plans, independent in every entry."""

    mean: Float[Tensor, "B H A"]
    """Mean `[B, H, A]`."""
    std: Float[Tensor, "B H A"]
    """Standard deviation `[B, H, A]`."""


def take(samples: Float[Tensor, "B K H A"], index: Int[Tensor, "B E"]) -> Float[Tensor, "B E H A"]:
    """Return the candidates `[B, E, H, A]` at indices `[B, E]`."""
    return samples.gather(1, index[:, :, None, None].expand(-1, -1, *samples.shape[2:]))


def refit(
    old: Gaussian,
    elites: Float[Tensor, "B E H A"],
    *,
    cost: Float[Tensor, "B E"],
    momentum_mean: float,
    momentum_std: float,
    min_std: float,
) -> Gaussian:
    """Return the moments of the elites whose cost is finite, mixed with the old ones.

    The variance is the unbiased one; a momentum is the part of the old moment that is kept.
    """
    weight = cost.isfinite()[:, :, None, None].to(elites.dtype)  # [B, E, 1, 1]
    count = weight.sum(1)  # [B, 1, 1]
    mean = (weight * elites).sum(1) / count
    variance = (weight * (elites - mean[:, None]).square()).sum(1) / (count - 1).clamp(min=1)
    std = torch.lerp(variance.sqrt(), old.std, momentum_std)
    return Gaussian(mean=torch.lerp(mean, old.mean, momentum_mean), std=std.clamp(min=min_std))
