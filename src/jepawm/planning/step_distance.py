"""The learned number of steps to the goal, as a part of the cost."""

from collections.abc import Callable
from dataclasses import replace

from jaxtyping import Float
from torch import Tensor

from jepawm.contracts import Objective
from jepawm.errors import UserError
from jepawm.planning.objectives import LatentDistance
from jepawm.types import Latent

StepHead = Callable[[Latent, Latent], Float[Tensor, "*b"]]
"""How many action blocks separate two latents `[*b]`."""


class StepDistance:
    """Add the learned number of steps to the goal to a distance of latents."""

    def __init__(self, distance: LatentDistance, head: StepHead) -> None:
        """Take the distance, whose `step_weight` and `reduction` hold, and the model's head."""
        self._distance = replace(distance, step_weight=0.0)
        self._weight = distance.step_weight
        self._head = head

    def __call__(
        self, predicted: Latent, goal: Latent, actions: Float[Tensor, "B K H A"]
    ) -> Float[Tensor, "B K"]:
        """Return costs `[B, K]` of latents `[B, K, H]` for goals `[B]`."""
        cost = self._distance(predicted, goal, actions)
        counted = predicted[:, :, -1:] if self._distance.reduction == "terminal" else predicted
        steps = self._head(counted, goal[:, None, None])  # [B, K, 1 or H]
        return cost + self._weight * steps.sum(2)


def with_head(objective: Objective, head: StepHead | None) -> Objective:
    """Return what an objective asks for, given the model's head that tells steps, if it has one."""
    if not isinstance(objective, LatentDistance) or objective.step_weight == 0.0:
        return objective
    if head is None:
        raise UserError(
            f"objective.step_weight = {objective.step_weight} needs a model that learned the number "
            "of steps; train with loss.step_distance_weight above 0"
        )
    return StepDistance(objective, head)
