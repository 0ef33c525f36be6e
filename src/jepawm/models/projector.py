"""Projectors with batch norm, as LeWorldModel puts them behind its encoder and its predictor."""

from jaxtyping import Float
from torch import Tensor, nn

from jepawm.models.encoders import BatchNorm


class Projector(nn.Module):
    """An affine map, batch norm, GELU, and an affine map."""

    def __init__(self, width: int, hidden: int, *, dim: int) -> None:
        """Take the widths of the input, of the hidden layer and of the output."""
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.norm = BatchNorm(hidden, affine=True)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: Float[Tensor, "*b width"]) -> Float[Tensor, "*b dim"]:
        """Map tokens `[*b, width]`; batch norm sees all of them as one batch."""
        hidden = self.norm(self.fc1(x.reshape(-1, x.shape[-1])))
        return self.fc2(nn.functional.gelu(hidden)).reshape(*x.shape[:-1], -1)
