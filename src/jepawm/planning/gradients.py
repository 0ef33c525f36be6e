"""The gradient of a cost function with respect to candidates."""

import torch
from jaxtyping import Float
from torch import Tensor

from jepawm.contracts import CostFn, GivesGradients
from jepawm.errors import UserError


def cost_and_gradient(
    cost: CostFn, samples: Float[Tensor, "B K H A"]
) -> tuple[Float[Tensor, "B K"], Float[Tensor, "B K H A"]]:
    """Return the cost of candidates and its gradient, by the cost function's own way if it has one."""
    if isinstance(cost, GivesGradients):
        return cost.with_gradient(samples)
    return differentiate(cost, samples)


def differentiate(
    cost: CostFn, samples: Float[Tensor, "B K H A"]
) -> tuple[Float[Tensor, "B K"], Float[Tensor, "B K H A"]]:
    """Return the cost of candidates and its gradient by one backward pass."""
    with torch.enable_grad():
        actions = samples.detach().requires_grad_()
        found = cost(actions)
        if not found.requires_grad:
            raise UserError(
                "this planner follows gradients, and the cost gives none: the model or the simulator "
                "behind it is not differentiable; choose a planner that samples, such as cem"
            )
        (gradient,) = torch.autograd.grad(found.sum(), actions)
    return found.detach(), gradient
