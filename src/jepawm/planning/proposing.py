"""Ask a proposer on behalf of a planner that takes proposals."""

from collections.abc import Callable
from typing import TypeGuard

import torch
from jaxtyping import Float
from torch import Tensor

from jepawm.contracts import Planner, TakesProposals

Propose = Callable[..., Float[Tensor, "B P H A"]]
"""Return `num_plans` plans of `horizon` blocks, the most promising one first."""


def takes_proposals(planner: Planner) -> TypeGuard[TakesProposals]:
    """Return whether a planner asks for proposals."""
    return isinstance(planner, TakesProposals) and planner.num_proposals > 0


def ask(
    propose: Propose, planner: Planner, *, like: Float[Tensor, "B H A"]
) -> tuple[dict[str, Tensor], int]:
    """Return what a planner takes besides a cost and an initial guess, and how many were dropped.

    A proposal that is no number is dropped, and the initial guess `like` takes its place; a planner
    that does not search sees it (`sees_dropped`) and decides itself.
    """
    if not takes_proposals(planner):
        return {}, 0
    plans = propose(horizon=like.shape[1], num_plans=planner.num_proposals)
    usable = plans.isfinite().all(-1).all(-1)  # [B, P]
    if not getattr(planner, "sees_dropped", False):
        plans = torch.where(usable[:, :, None, None], plans, like[:, None])
    return {"proposals": plans}, int((~usable).sum())
