"""Search fewer numbers: all environment actions of a block share one value."""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from jepawm.contracts import Bounds, CostFn, Planner
from jepawm.errors import UserError
from jepawm.types import Plan


def plan_repeated(
    planner: Planner,
    cost: CostFn,
    *,
    init: Float[Tensor, "B H A"],
    num_repeats: int,
    bounds: Bounds | None,
    generator: torch.Generator,
) -> Plan:
    """Plan actions `[B, H, A / num_repeats]` and repeat each `num_repeats` times in its block.

    A start that is not so repeated is replaced by its mean; bounds hold for every repetition.

    Raises:
        UserError: if the width of a block is no multiple of `num_repeats`.
    """
    width = init.shape[2]
    if width % num_repeats:
        raise UserError(
            f"planner.action_repeat = {num_repeats} does not divide an action block of width "
            f"{width}; give 1 or the frameskip"
        )
    if bounds is not None:
        low, high = (bound.unflatten(0, (num_repeats, -1)) for bound in bounds)
        bounds = (low.amax(0), high.amin(0))
    plan = planner.plan(
        lambda actions: cost(actions.repeat(1, 1, 1, num_repeats)),
        init.unflatten(2, (num_repeats, -1)).mean(2),
        bounds=bounds,
        generator=generator,
    )
    return replace(plan, actions=plan.actions.repeat(1, 1, num_repeats))
