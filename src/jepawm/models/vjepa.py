"""The vision transformer of V-JEPA 1: clips of two equal frames, a table of positions that is added.

Frozen encoders of the other families come from transformers, which does not have this one.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from jepawm.models.blocks import Block
from jepawm.models.positions import grid_sincos

CLIP = 2
"""Frames that one token covers."""


class VJEPABackbone(nn.Module):
    """Encode images, each as a clip of two equal frames."""

    def __init__(
        self,
        *,
        width: int,
        depth: int,
        num_heads: int,
        hidden: int,
        patch_size: int,
        side: int,
        norm_eps: float,
    ) -> None:
        """Take the widths, the patch in pixels and the patches per side."""
        super().__init__()
        self.embeddings = _Embeddings(width, patch_size=patch_size, side=side)
        self.blocks = nn.ModuleList(
            Block(width, num_heads, head_dim=width // num_heads, hidden=hidden, norm_eps=norm_eps)
            for _ in range(depth)
        )
        self.norm = nn.LayerNorm(width, eps=norm_eps)

    def forward(self, images: Float[Tensor, "B 3 S S"]) -> Float[Tensor, "B N D"]:
        """Encode normalised images `[B, 3, S, S]` into tokens `[B, N, D]` after the last norm."""
        tokens = self.embeddings(images)
        for block in self.blocks:
            tokens = block(tokens)
        return self.norm(tokens)


class _Embeddings(nn.Module):
    def __init__(self, width: int, *, patch_size: int, side: int) -> None:
        super().__init__()
        kernel = (CLIP, patch_size, patch_size)
        self.proj = nn.Conv3d(3, width, kernel, stride=kernel)
        table = grid_sincos((side, side), dim=width)
        self.position_embeddings = nn.Parameter(table[None], requires_grad=False)  # [1, N, D]

    def forward(self, images: Tensor) -> Tensor:
        clips = torch.stack([images] * CLIP, dim=2)  # [B, 3, 2, S, S]
        return self.proj(clips).flatten(2).transpose(1, 2) + self.position_embeddings
