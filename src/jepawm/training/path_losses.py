"""Losses on paths of latents that make planning easier: curvature and step distance."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from jepawm.types import Latent, concatenate


def curvature(latents: Latent) -> Float[Tensor, ""]:
    """Return how much the paths of latents `[B, T+1]` bend: 1 minus the mean cosine of steps.

    Successive changes of the flattened tokens point the same way on a straight path (0), and back
    on a path that returns (2). Straight paths make the distance to the goal a guide for gradients
    (temporal straightening, arXiv 2603.12231). It is 0 where there are fewer than two steps.
    """
    velocity = latents.tokens.flatten(-2).diff(dim=1)  # [B, T, N D]
    if velocity.shape[1] < 2:
        return velocity.new_zeros(())
    return 1.0 - F.cosine_similarity(velocity[:, 1:], velocity[:, :-1], dim=-1).mean()


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
