"""A place holder for an encoder where tokens are given, or only their sizes matter."""

from jaxtyping import Float, UInt8
from torch import Tensor, nn


class GivenTokens(nn.Module):
    """Stand in the encoder's place where frames are encoded already."""

    def __init__(self, *, dim: int, grid: tuple[int, int]) -> None:
        """Take the width and the grid of the tokens."""
        super().__init__()
        self.dim = dim
        self.grid = grid
        self.num_tokens = grid[0] * grid[1]

    def forward(self, pixels: UInt8[Tensor, "*b 3 height width"]) -> Float[Tensor, "*b N D"]:
        """Refuse images: there is no network here."""
        raise TypeError(f"this model has no encoder for images {tuple(pixels.shape)}; give tokens")
