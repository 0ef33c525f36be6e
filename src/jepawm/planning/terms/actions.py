"""What actions cost: their size, and how suddenly they change."""

from dataclasses import dataclass, field, replace
from typing import Annotated, ClassVar

import tyro
from jaxtyping import Float
from torch import Tensor

from jepawm.errors import UserError
from jepawm.planning.terms.composition import Composable
from jepawm.planning.terms.heads import Heads
from jepawm.types import Latent


@dataclass(frozen=True, kw_only=True)
class ActionSize(Composable):
    """Cost the mean squared action, normalised: 1 is as large as those of the data."""

    needs_goal: ClassVar[bool] = False
    """Whether it compares with a goal."""

    def __call__(
        self,
        predicted: Latent,  # noqa: ARG002 (the protocol's arguments)
        goal: Latent,  # noqa: ARG002
        actions: Float[Tensor, "B K H A"],
    ) -> Float[Tensor, "B K"]:
        """Return costs `[B, K]` of normalised action blocks `[B, K, H, A]`."""
        return actions.square().mean((-2, -1))


@dataclass(frozen=True, kw_only=True)
class Smoothness(Composable):
    """Cost the mean squared change from one environment action of a plan to the next, normalised."""

    needs_goal: ClassVar[bool] = False
    """Whether it compares with a goal."""
    action_dim: Annotated[int | None, tyro.conf.Suppress] = field(
        default=None, metadata={"of_model": True}
    )
    """Width of one environment action; None until an agent has told it."""

    def with_heads(self, heads: Heads) -> "Smoothness":
        """Return the term that knows how wide an action is."""
        return replace(self, action_dim=self.action_dim or heads.action_dim)

    def __call__(
        self,
        predicted: Latent,  # noqa: ARG002 (the protocol's arguments)
        goal: Latent,  # noqa: ARG002
        actions: Float[Tensor, "B K H A"],
    ) -> Float[Tensor, "B K"]:
        """Return costs `[B, K]` of action blocks `[B, K, H, A]`; a plan of one action costs nothing."""
        if self.action_dim is None:
            raise UserError("Smoothness does not know the width of an action; give action_dim")
        steps = actions.unflatten(-1, (-1, self.action_dim)).flatten(2, 3)  # [B, K, T, a]
        if steps.shape[2] < 2:
            return steps.new_zeros(steps.shape[:2])
        return steps.diff(dim=2).square().mean((-2, -1))
