"""A learned reward in place of a goal: plans that are predicted to earn most cost least."""

from dataclasses import dataclass, field, replace
from typing import Annotated, ClassVar

import torch
import tyro
from jaxtyping import Float
from torch import Tensor

from jepawm.errors import UserError
from jepawm.planning.terms.composition import Composable
from jepawm.planning.terms.heads import Heads, RewardHead
from jepawm.types import Latent


@dataclass(frozen=True, kw_only=True)
class Reward(Composable):
    """Cost what a learned reward predicts, with the sign turned round, summed over the plan."""

    head: Annotated[RewardHead | None, tyro.conf.Suppress] = field(
        default=None, kw_only=False, metadata={"of_model": True}
    )
    """The reward; None: the one in `folder`, beside the model."""
    folder: str = "reward"
    """Name of the folder of the reward in the run."""
    discount: float = 1.0
    """What is left of a reward from one step to the next."""
    disagreement_weight: float = 1.0
    """How much the standard deviation between the members of the ensemble costs: what they disagree
    about is what they have not seen, and a planner finds it."""
    needs_goal: ClassVar[bool] = False
    """Whether it compares with a goal."""

    def __post_init__(self) -> None:
        """Refuse numbers that are out of range."""
        if not 0.0 < self.discount <= 1.0:
            raise UserError(f"reward.discount = {self.discount}; give a number above 0, at most 1")
        if not 0.0 <= self.disagreement_weight < float("inf"):
            raise UserError(
                f"reward.disagreement_weight = {self.disagreement_weight}; give 0 or more"
            )

    def with_heads(self, heads: Heads) -> "Reward":
        """Return the term with the reward that lies beside the model."""
        return replace(self, head=self.head or heads.reward(self.folder))

    def __call__(
        self,
        predicted: Latent,
        goal: Latent,  # noqa: ARG002 (the protocol's second argument)
        actions: Float[Tensor, "B K H A"],
    ) -> Float[Tensor, "B K"]:
        """Return costs `[B, K]` of latents `[B, K, H]`."""
        if self.head is None:
            raise UserError("Reward has no head yet; plan by an agent, or give Reward(head)")
        mean, spread = self.head(predicted, actions)  # [B, K, H] each
        earned = mean - self.disagreement_weight * spread
        if self.discount < 1.0:
            steps = torch.arange(earned.shape[-1], device=earned.device)
            earned = earned * self.discount**steps
        return -earned.sum(-1)
