"""Transformer blocks shared by predictors and encoders."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from jepawm.models.positions import Rotation, rotate


class Attention(nn.Module):
    """Multi-head self-attention, rotary where a rotation is given."""

    def __init__(
        self,
        width: int,
        num_heads: int,
        *,
        head_dim: int,
        qkv_bias: bool = True,
        dropout: float = 0.0,
    ) -> None:
        """Take the model width, the number of heads and the width of each."""
        super().__init__()
        self.num_heads = num_heads
        self.head_dim = head_dim
        self.dropout = dropout
        self.qkv = nn.Linear(width, 3 * num_heads * head_dim, bias=qkv_bias)
        self.proj = nn.Linear(num_heads * head_dim, width)

    def forward(
        self,
        x: Float[Tensor, "B L width"],
        *,
        rotation: Rotation | None = None,
        mask: Bool[Tensor, "L L"] | None = None,
    ) -> Float[Tensor, "B L width"]:
        """Attend within each sequence `[B, L, width]`; `mask` is True where a query may look."""
        inner = self.num_heads * self.head_dim
        dropout = self.dropout if self.training else 0.0
        if x.shape[1] == 1 and dropout == 0.0:  # the softmax over one token is 1: only values count
            bias = None if self.qkv.bias is None else self.qkv.bias[2 * inner :]
            return self.proj(F.linear(x, self.qkv.weight[2 * inner :], bias))
        qkv = self.qkv(x).unflatten(-1, (3, self.num_heads, self.head_dim))
        query, key, value = qkv.permute(2, 0, 3, 1, 4)  # [B, heads, L, h] each
        out = attend(query, key, value, rotation=rotation, mask=mask, dropout=dropout)
        out = out.transpose(1, 2).flatten(-2)  # [B, L, inner]
        return F.dropout(self.proj(out), dropout)


def attend(
    query: Float[Tensor, "B heads L h"],
    key: Float[Tensor, "B heads L h"],
    value: Float[Tensor, "B heads L h"],
    *,
    rotation: Rotation | None,
    mask: Bool[Tensor, "L L"] | None,
    dropout: float = 0.0,
) -> Float[Tensor, "B heads L h"]:
    """Turn queries and keys, then take softmax(q k^T h^-1/2) v over the allowed keys."""
    if rotation is not None:
        query, key = rotate(query, rotation), rotate(key, rotation)
    return F.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=dropout)


def block_causal_mask(num_frames: int, tokens_per_frame: int) -> Bool[Tensor, "L L"]:
    """Return the mask `[L, L]`: a token sees all tokens of its own and of earlier frames."""
    frame = torch.arange(num_frames).repeat_interleave(tokens_per_frame)
    return frame[:, None] >= frame[None, :]


class FeedForward(nn.Module):
    """Linear, exact GELU, linear."""

    def __init__(self, width: int, hidden: int, *, dropout: float = 0.0) -> None:
        """Take the model width and the hidden width."""
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)
        self.dropout = dropout

    def forward(self, x: Float[Tensor, "*b width"]) -> Float[Tensor, "*b width"]:
        """Map each token alone."""
        dropout = self.dropout if self.training else 0.0
        hidden = F.dropout(F.gelu(self.fc1(x)), dropout)
        return F.dropout(self.fc2(hidden), dropout)


class Block(nn.Module):
    """Pre-norm transformer block, modulated by a condition where AdaLN is on.

    With AdaLN the condition `c` gives shift, scale and gate of both branches:
    `x + gate * Attn(LN(x) * (1 + scale) + shift)`, then the same around the feed-forward part.
    """

    def __init__(
        self,
        width: int,
        num_heads: int,
        *,
        head_dim: int,
        hidden: int,
        qkv_bias: bool = True,
        norm_eps: float = 1e-6,
        dropout: float = 0.0,
        modulated: bool = False,
    ) -> None:
        """Take widths; `modulated` adds the AdaLN linear layer."""
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=norm_eps)
        self.attn = Attention(
            width, num_heads, head_dim=head_dim, qkv_bias=qkv_bias, dropout=dropout
        )
        self.norm2 = nn.LayerNorm(width, eps=norm_eps)
        self.mlp = FeedForward(width, hidden, dropout=dropout)
        self.modulation = nn.Linear(width, 6 * width) if modulated else None

    def forward(
        self,
        x: Float[Tensor, "B L width"],
        *,
        condition: Float[Tensor, "B T width"] | None = None,
        rotation: Rotation | None = None,
        mask: Bool[Tensor, "L L"] | None = None,
    ) -> Float[Tensor, "B L width"]:
        """Transform sequences `[B, L, width]`; `condition` `[B, T, width]` is one code per frame."""
        if self.modulation is None or condition is None:
            x = x + self.attn(self.norm1(x), rotation=rotation, mask=mask)
            return x + self.mlp(self.norm2(x))
        codes = self.modulation(F.silu(condition)).unsqueeze(2)  # [B, T, 1, 6 width]
        shift1, scale1, gate1, shift2, scale2, gate2 = codes.chunk(6, dim=-1)
        x = x.unflatten(1, (condition.shape[1], -1))  # [B, T, tokens per frame, width]
        normed = torch.addcmul(shift1, self.norm1(x), 1 + scale1).flatten(1, 2)
        attended = self.attn(normed, rotation=rotation, mask=mask)  # [B, L, width]
        x = torch.addcmul(x, gate1, attended.view_as(x))
        x = torch.addcmul(x, gate2, self.mlp(torch.addcmul(shift2, self.norm2(x), 1 + scale2)))
        return x.flatten(1, 2)
