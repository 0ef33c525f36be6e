"""How far predicted latents are from the goal: the cost that planners minimise."""

from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import cosine_similarity

from jepawm.errors import UserError
from jepawm.types import Latent

Metric = Literal["l2", "l1", "cos"]
Reduction = Literal["terminal", "sum"]


@dataclass(frozen=True, kw_only=True)
class LatentDistance:
    """Measure the distance of predicted latents to the goal latent, as the paper does."""

    metric: Metric = "l2"
    """`l2`: mean squared difference over tokens and channels; `l1`: mean absolute difference;
    `cos`: minus the cosine of the flattened tokens."""
    reduction: Reduction = "terminal"
    """`terminal`: the last predicted step counts; `sum`: all predicted steps, added up."""
    proprio_weight: float = 0.1
    """Weight of the same distance between proprio codes; no effect in a model without proprio."""

    def __post_init__(self) -> None:
        """Check the fields.

        Raises:
            UserError: if a name is unknown or the weight is negative.
        """
        if self.metric not in ("l2", "l1", "cos"):
            raise UserError(f"objective.metric = {self.metric!r}; choose l2, l1 or cos")
        if self.reduction not in ("terminal", "sum"):
            raise UserError(f"objective.reduction = {self.reduction!r}; choose terminal or sum")
        if not 0.0 <= self.proprio_weight < float("inf"):
            raise UserError(f"objective.proprio_weight = {self.proprio_weight}; give 0 or more")

    def __call__(
        self,
        predicted: Latent,
        goal: Latent,
        actions: Float[Tensor, "B K H A"],  # noqa: ARG002 (the protocol's third argument)
    ) -> Float[Tensor, "B K"]:
        """Return costs `[B, K]` of latents `[B, K, H]` for goals `[B]`; actions cost nothing.

        Raises:
            UserError: if only one of the two latents has proprio.
        """
        if (predicted.proprio is None) != (goal.proprio is None):
            raise UserError("the goal and the predictions must both have proprio, or neither")
        if self.reduction == "terminal":
            predicted = predicted[:, :, -1:]
        steps = self._distance(predicted.tokens, goal.tokens)
        if self.proprio_weight and predicted.proprio is not None and goal.proprio is not None:
            proprio = self._distance(predicted.proprio, goal.proprio)
            steps = steps + self.proprio_weight * proprio
        return steps.sum(2)  # [B, K]

    def _distance(
        self, codes: Float[Tensor, "B K H N D"], goal: Float[Tensor, "B N D"]
    ) -> Float[Tensor, "B K H"]:
        target = goal[:, None, None]  # [B, 1, 1, N, D]
        if self.metric == "cos":
            return -cosine_similarity(codes.flatten(-2), target.flatten(-2), dim=-1)
        if self.metric == "l1":
            return (codes - target).abs().mean((-2, -1))
        return (codes - target).square().mean((-2, -1))
