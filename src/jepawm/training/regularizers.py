"""Terms besides the prediction loss: against collapse, and for the step distance; the rank."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from jepawm.processes import count_processes, sum_over_processes
from jepawm.types import Latent, concatenate

_NUM_KNOTS = 17
_LAST_KNOT = 3.0


def sigreg(
    latents: Float[Tensor, "G B D"], *, num_directions: int, generator: torch.Generator
) -> Float[Tensor, ""]:
    """Return how far the latents of each group are from a standard normal (SIGReg).

    Each group `[B, D]` (one time step, one token) is projected on random unit directions. The
    Epps-Pulley statistic of a projection is `B` times the integral over t in [-3, 3] of
    `|phi_B(t) - exp(-t^2 / 2)|^2 exp(-t^2 / 2)`, `phi_B` its empirical characteristic function,
    by the trapezoid rule on 17 knots of the positive half (LeJEPA; LeWorldModel, arXiv 2603.19312).
    The mean over groups and directions is returned. `B` counts the batch of all processes.

    Args:
        latents: groups of latents.
        num_directions: directions per call.
        generator: draws the directions.
    """
    groups, batch, dim = latents.shape
    drawn = torch.randn(dim, num_directions, generator=generator, pin_memory=latents.is_cuda)
    directions = F.normalize(drawn.to(latents, non_blocking=True), dim=0)
    projected = latents @ directions  # [G, B, M]
    step = _LAST_KNOT / (_NUM_KNOTS - 1)
    real, imaginary = _characteristic_function(projected, step=step)  # [16, G, M]
    statistic = latents.new_zeros(groups, num_directions)
    for knot in range(1, _NUM_KNOTS):  # at t = 0 both characteristic functions are 1
        normal = torch.exp(torch.tensor(-((knot * step) ** 2) / 2)).item()
        weight = step * normal * (1.0 if knot < _NUM_KNOTS - 1 else 0.5)
        error = (real[knot - 1] - normal) ** 2 + imaginary[knot - 1] ** 2  # [G, M]
        statistic = statistic + 2 * weight * error
    return batch * count_processes() * statistic.mean()


def _characteristic_function(
    projected: Float[Tensor, "G B M"], *, step: float
) -> Float[Tensor, "2 knots G M"]:
    """Return the empirical characteristic function of the global batch at the positive knots."""
    cos1, sin1 = torch.cos(step * projected), torch.sin(step * projected)
    cos, sin = cos1, sin1
    means = [(cos.mean(1), sin.mean(1))]
    for _ in range(2, _NUM_KNOTS):
        cos, sin = cos * cos1 - sin * sin1, sin * cos1 + cos * sin1  # angle addition
        means.append((cos.mean(1), sin.mean(1)))
    real, imaginary = zip(*means, strict=True)
    local = torch.stack([torch.stack(real), torch.stack(imaginary)])
    return sum_over_processes(local) / count_processes()


def vicreg(latents: Float[Tensor, "G B D"], *, covariance_weight: float) -> Float[Tensor, ""]:
    """Return the variance and covariance terms of VICReg, averaged over groups.

    Variance: hinge of the standard deviation below 1; covariance: squared off-diagonal entries,
    summed and divided by `D` (PLDM, arXiv 2502.14819). Moments are those of all processes' batch.
    """
    count = latents.shape[1] * count_processes()
    centered = latents - sum_over_processes(latents.sum(1, keepdim=True)) / count
    covariance = sum_over_processes(centered.transpose(1, 2) @ centered) / (count - 1)  # [G, D, D]
    diagonal = covariance.diagonal(dim1=1, dim2=2)  # [G, D]
    variance = F.relu(1 - torch.sqrt(diagonal + 1e-4)).mean()
    off_diagonal = covariance.square().sum((1, 2)) - diagonal.square().sum(1)
    return variance + covariance_weight * off_diagonal.mean() / latents.shape[2]


def step_distance_loss(
    head: Callable[[Latent, Latent], Tensor], latents: Latent
) -> Float[Tensor, ""]:
    """Return the mean squared error of the number of steps between latents `[B, T+1]`.

    Every ordered pair within a window is one example, from 0 to T steps; each first latent and the
    last one of the next window in the batch are another, for pairs that are far apart: T + 1.
    """
    seen = latents.detach()
    length = seen.batch_shape[1]
    first, last = torch.triu_indices(length, length, device=seen.tokens.device)
    steps = (last - first).to(seen.tokens.dtype)  # [pairs]
    near = F.mse_loss(head(seen[:, first], seen[:, last]), steps.expand(len(seen.tokens), -1))
    others = concatenate([seen[1:, -1], seen[:1, -1]], dim=0)  # [B]
    apart = head(seen[:, 0], others)
    return near + F.mse_loss(apart, torch.full_like(apart, float(length)))


def effective_rank(latents: Float[Tensor, "n D"]) -> float:
    """Return the effective rank of latents `[n, D]`: exp of the entropy of the spectrum."""
    centered = (latents - latents.mean(0)).double()
    spectrum = torch.linalg.svdvals(centered)
    share = spectrum / spectrum.sum().clamp(min=1e-12)
    entropy = -(share * torch.log(share.clamp(min=1e-12))).sum()
    return float(torch.exp(entropy))
