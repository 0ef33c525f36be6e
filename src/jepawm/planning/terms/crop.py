"""A goal that is a part of a picture: the rest may look as it likes."""

from dataclasses import dataclass, field, replace
from typing import Annotated

import tyro
from jaxtyping import Float
from torch import Tensor

from jepawm.errors import UserError
from jepawm.planning.objectives import LatentDistance
from jepawm.planning.terms.composition import Composable
from jepawm.planning.terms.heads import Heads
from jepawm.types import Latent


@dataclass(frozen=True, kw_only=True)
class Crop(Composable):
    """Measure the distance to the goal in the tokens of a part of the picture."""

    left: float = 0.0
    """Left edge, as a part of the width of the picture."""
    top: float = 0.0
    """Upper edge, as a part of its height."""
    right: float = 1.0
    """Right edge."""
    bottom: float = 1.0
    """Lower edge."""
    distance: LatentDistance = LatentDistance(proprio_weight=0.0)
    """How the tokens inside are compared."""
    grid: Annotated[tuple[int, int] | None, tyro.conf.Suppress] = field(
        default=None, metadata={"of_model": True}
    )
    """Rows and columns of tokens; None until an agent has given the model's."""

    def __post_init__(self) -> None:
        """Refuse parts that are none."""
        for low, high in ((self.left, self.right), (self.top, self.bottom)):
            if not 0.0 <= low < high <= 1.0:
                raise UserError(
                    f"crop from {low} to {high}; give parts of the picture from 0 to 1, the "
                    "smaller one first"
                )

    def with_heads(self, heads: Heads) -> "Crop":
        """Return the term for the model's grid of tokens."""
        bound = replace(self, grid=self.grid or heads.grid)
        bound.tokens()  # refuses now what would fail while planning
        return bound

    def tokens(self) -> list[int]:
        """Return the tokens whose centres are inside, counted row by row."""
        if self.grid is None or self.grid == (1, 1):
            raise UserError(
                "Crop needs a model with a grid of tokens, and this one sees the picture as a whole; "
                "train one with --encoder.grid above 1, or take StateGoal"
            )
        rows, columns = self.grid
        inside = [
            row * columns + column
            for row in range(rows)
            for column in range(columns)
            if self.top <= (row + 0.5) / rows <= self.bottom
            and self.left <= (column + 0.5) / columns <= self.right
        ]
        if not inside:
            raise UserError(
                f"no token of the grid {rows} x {columns} has its centre inside the crop; enlarge it"
            )
        return inside

    def __call__(
        self, predicted: Latent, goal: Latent, actions: Float[Tensor, "B K H A"]
    ) -> Float[Tensor, "B K"]:
        """Return costs `[B, K]` of latents `[B, K, H]` for goals `[B]`."""
        kept = self.tokens()
        seen = Latent(tokens=predicted.tokens[..., kept, :])
        return self.distance(seen, Latent(tokens=goal.tokens[..., kept, :]), actions)
