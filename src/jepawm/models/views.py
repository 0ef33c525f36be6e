"""Encode several cameras: each picture by an encoder of its own, the tokens side by side."""

from collections.abc import Mapping
from typing import cast

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from jepawm.contracts import Encoder
from jepawm.views import split_views


class ViewsEncoder(nn.Module):
    """Encoders of cameras by name, for pictures that lie one below the other."""

    def __init__(self, encoders: Mapping[str, Encoder]) -> None:
        """Take an encoder for each camera, alike in width and grid, in the order of the pictures."""
        super().__init__()
        self.cameras = tuple(encoders)
        self.encoders = nn.ModuleList(cast(nn.Module, one) for one in encoders.values())
        first = next(iter(encoders.values()))
        self.dim: int = first.dim
        self.grid: tuple[int, int] = (len(encoders) * first.grid[0], first.grid[1])
        self.num_tokens: int = len(encoders) * first.num_tokens

    def forward(self, pixels: UInt8[Tensor, "*b 3 height width"]) -> Float[Tensor, "*b N D"]:
        """Encode pictures `[*b, 3, V S, S]` into tokens `[*b, N, D]`, camera after camera."""
        views = split_views(pixels, len(self.encoders))
        pairs = zip(self.encoders, views, strict=True)
        return torch.cat([encoder(view) for encoder, view in pairs], dim=-2)
