"""Which predicted steps an objective counts: each of them, later ones less; or the last one alone."""

from dataclasses import dataclass, replace
from typing import Annotated

import torch
import tyro
from jaxtyping import Float
from torch import Tensor

from jepawm.contracts import Objective
from jepawm.errors import UserError
from jepawm.planning.terms.composition import Composable, needs_goal
from jepawm.planning.terms.heads import Heads, bind
from jepawm.types import Latent


@dataclass(frozen=True, kw_only=True)
class Discounted(Composable):
    """Cost every predicted step by itself and add them up, each `factor` times the one before."""

    of: Annotated[Objective, tyro.conf.Suppress]
    """What a step costs."""
    factor: float = 0.9
    """What is left of the weight from one step to the next; 1: all steps count alike."""

    def __post_init__(self) -> None:
        """Refuse factors that no step can have."""
        if not 0.0 < self.factor <= 1.0:
            raise UserError(f"discounted.factor = {self.factor}; give a number above 0, at most 1")

    @property
    def needs_goal(self) -> bool:
        """Return whether what is counted compares with a goal."""
        return needs_goal(self.of)

    def with_heads(self, heads: Heads) -> "Discounted":
        """Return the same of the objective with its heads."""
        return replace(self, of=bind(self.of, heads))

    def __call__(
        self, predicted: Latent, goal: Latent, actions: Float[Tensor, "B K H A"]
    ) -> Float[Tensor, "B K"]:
        """Return costs `[B, K]` of latents `[B, K, H]` for goals `[B]`."""
        shape = actions.shape[1:3]
        alone = predicted.map(lambda part: part.flatten(1, 2)[:, :, None])  # [B, K * H, 1]
        costs = self.of(alone, goal, actions.flatten(1, 2)[:, :, None]).unflatten(1, shape)
        weights = self.factor ** torch.arange(shape[1], device=costs.device)  # [H]
        return (costs * weights).sum(-1)


@dataclass(frozen=True, kw_only=True)
class Terminal(Composable):
    """Cost the last predicted step alone, as a value of what comes after the plan."""

    of: Annotated[Objective, tyro.conf.Suppress]
    """What it costs."""

    @property
    def needs_goal(self) -> bool:
        """Return whether what is counted compares with a goal."""
        return needs_goal(self.of)

    def with_heads(self, heads: Heads) -> "Terminal":
        """Return the same of the objective with its heads."""
        return replace(self, of=bind(self.of, heads))

    def __call__(
        self, predicted: Latent, goal: Latent, actions: Float[Tensor, "B K H A"]
    ) -> Float[Tensor, "B K"]:
        """Return costs `[B, K]` of latents `[B, K, H]` for goals `[B]`."""
        return self.of(predicted[:, :, -1:], goal, actions[:, :, -1:])
