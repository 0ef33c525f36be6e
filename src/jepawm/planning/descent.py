"""What the planners that follow gradients share: their steps, and the cheapest of their plans."""

import math
from collections.abc import Callable, Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from jepawm.contracts import Bounds
from jepawm.planning.sampling import clamp
from jepawm.planning.search import Search

Step = Callable[[Tensor, int], Tensor]
"""Make a direction of the gradients `[B, K, H, A]` of an iteration."""


def half_cosine(count: int, *, first: float, last: float) -> list[float]:
    """Return `count` lengths that fall from `first`; `last` would be the next one."""
    return [
        last + (first - last) * 0.5 * (1 + math.cos(math.pi * index / count))
        for index in range(count)
    ]


def descend(
    search: Search,
    actions: Float[Tensor, "B K H A"],
    *,
    iterations: Iterator[int],
    lengths: Sequence[float],
    step: Step,
    bounds: Bounds | None,
    decay: float = 0.0,
) -> tuple[Float[Tensor, "B K H A"], Float[Tensor, "B K"]]:
    """Move plans by what `step` makes of their gradients; return each one's best iterate and cost.

    It ends with the lengths, or with the search's iterations.
    """
    best = actions
    lowest = actions.new_full(actions.shape[:2], float("inf"))  # [B, K]
    for index, (length, _) in enumerate(zip(lengths, iterations, strict=False)):
        gradient, cost = search.gradient(actions)
        better = cost < lowest
        best = torch.where(better[:, :, None, None], actions, best)
        lowest = torch.where(better, cost, lowest)
        direction = step(gradient, index) + decay * actions
        actions = clamp(actions - length * direction, bounds)
    return best, lowest


def cheapest(
    plans: Float[Tensor, "B K H A"], costs: Float[Tensor, "B K"], *, count: int
) -> Float[Tensor, "B N H A"]:
    """Return the `count` cheapest of each problem's plans, in their order if costs are equal."""
    index = costs.argsort(dim=1, stable=True)[:, :count]  # [B, N]
    rows = torch.arange(len(plans), device=plans.device)[:, None]
    return plans[rows, index]
