"""A normal distribution over plans, and its refit to the best of its draws."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from jepawm.types import TensorStruct


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
