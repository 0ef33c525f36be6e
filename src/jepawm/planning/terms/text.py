"""A goal in words: plans whose last latent lies nearest to the text cost least."""

from dataclasses import dataclass, field, replace
from typing import Annotated, ClassVar, Literal

import tyro
from jaxtyping import Float
from torch import Tensor

from jepawm.errors import UserError
from jepawm.planning.terms.composition import Composable
from jepawm.planning.terms.heads import Heads, TextReader
from jepawm.types import Latent


@dataclass(frozen=True, kw_only=True)
class TextDistance(Composable):
    """Cost 1 minus the cosine between a predicted latent and the text of the goal."""

    head: Annotated[TextReader | None, tyro.conf.Suppress] = field(
        default=None, kw_only=False, metadata={"of_model": True}
    )
    """What maps latents and texts into one space; None: what lies in `folder`, beside the model."""
    folder: str = "text"
    """Name of its folder in the run."""
    reduction: Literal["terminal", "sum"] = "terminal"
    """`terminal`: the last predicted step counts; `sum`: all predicted steps, added up."""
    goal_kind: ClassVar[str] = "text"
    """What it compares with: a text, no picture."""

    def __post_init__(self) -> None:
        """Refuse a reduction that is none."""
        if self.reduction not in ("terminal", "sum"):
            raise UserError(f"text.reduction = {self.reduction!r}; choose terminal or sum")

    def with_heads(self, heads: Heads) -> "TextDistance":
        """Return the term with the map that lies beside the model."""
        return replace(self, head=self.head or heads.text(self.folder))

    def __call__(
        self,
        predicted: Latent,
        goal: Latent,
        actions: Float[Tensor, "B K H A"],  # noqa: ARG002 (the protocol's third argument)
    ) -> Float[Tensor, "B K"]:
        """Return costs `[B, K]` of latents `[B, K, H]` for texts `[B, 1, E]`."""
        if self.head is None:
            raise UserError("TextDistance has no head yet; plan by an agent, or give it one")
        if self.reduction == "terminal":
            predicted = predicted[:, :, -1:]
        found = self.head(predicted)  # [B, K, H, E]
        wanted = goal.tokens[:, :1, None]  # [B, 1, 1, E]
        return (1.0 - (found * wanted).sum(-1)).sum(-1)
