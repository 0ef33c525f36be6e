"""How far predicted latents are from the goal: the cost that planners minimise."""

from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import cosine_similarity

from jepawm.errors import UserError
from jepawm.planning.terms.composition import Composable
from jepawm.types import Latent

Metric = Literal["l2", "l1", "cos"]
Reduction = Literal["terminal", "sum"]


@dataclass(frozen=True, kw_only=True)
class LatentDistance(Composable):
    """Measure the distance of predicted latents to the goal latent, as the paper does."""

    metric: Metric = "l2"
    """`l2`: mean squared difference over tokens and channels; `l1`: mean absolute difference;
    `cos`: minus the cosine of the flattened tokens."""
    reduction: Reduction = "terminal"
    """`terminal`: the last predicted step counts; `sum`: all predicted steps, added up."""
    proprio_weight: float = 0.1
    """Weight of the same distance between proprio codes; no effect in a model without proprio."""
    latent_weight: float = 1.0
    """Weight of the distance above beside the learned number of steps."""
    step_weight: float = 0.0
    """Weight of the number of action blocks to the goal, as the model learned to predict it
    (loss.step_distance_weight)."""

    def __post_init__(self) -> None:
        """Refuse numbers that are out of range."""
        if self.metric not in ("l2", "l1", "cos"):
            raise UserError(f"objective.metric = {self.metric!r}; choose l2, l1 or cos")
        if self.reduction not in ("terminal", "sum"):
            raise UserError(f"objective.reduction = {self.reduction!r}; choose terminal or sum")
        for name in ("proprio_weight", "latent_weight", "step_weight"):
            if not 0.0 <= getattr(self, name) < float("inf"):
                raise UserError(f"objective.{name} = {getattr(self, name)}; give 0 or more")

    def __call__(
        self,
        predicted: Latent,
        goal: Latent,
        actions: Float[Tensor, "B K H A"],  # noqa: ARG002 (the protocol's third argument)
    ) -> Float[Tensor, "B K"]:
        """Return costs `[B, K]` of latents `[B, K, H]` for goals `[B]`; actions cost nothing."""
        if self.step_weight > 0.0:
            raise UserError(
                f"objective.step_weight = {self.step_weight} counts steps with the head of a "
                "model; call what with_head(objective, model.step_distance) returns"
            )
        if (predicted.proprio is None) != (goal.proprio is None):
            raise UserError("the goal and the predictions must both have proprio, or neither")
        if self.reduction == "terminal":
            predicted = predicted[:, :, -1:]
        steps = self._distance(predicted.tokens, goal.tokens)
        if self.proprio_weight and predicted.proprio is not None and goal.proprio is not None:
            proprio = self._distance(predicted.proprio, goal.proprio)
            steps = steps + self.proprio_weight * proprio
        return self.latent_weight * steps.sum(2)  # [B, K]

    def _distance(
        self, codes: Float[Tensor, "B K H N D"], goal: Float[Tensor, "B N D"]
    ) -> Float[Tensor, "B K H"]:
        target = goal[:, None, None]  # [B, 1, 1, N, D]
        if self.metric == "cos":
            return -cosine_similarity(codes.flatten(-2), target.flatten(-2), dim=-1)
        if self.metric == "l1":
            return (codes - target).abs().mean((-2, -1))
        return (codes - target).square().mean((-2, -1))
