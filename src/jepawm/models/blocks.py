"""Transformer blocks shared by predictors and encoders."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from jepawm.kernels.split_products import split_leave
from jepawm.models.attention import attend, attend_frames
from jepawm.models.linear import PackedWeights, linear, splitting
from jepawm.models.positions import Rotation, rotate

Shortcut = tuple[Float[Tensor, "width width"], Float[Tensor, " width"]]
"""Weight and bias of what attention makes of a token that sees itself alone."""


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
        self.inner = num_heads * head_dim
        self.dropout = dropout
        self.qkv = nn.Linear(width, 3 * self.inner, bias=qkv_bias)
        self.proj = nn.Linear(self.inner, width)

    def forward(
        self, x: Float[Tensor, "B *T n width"], *, rotation: Rotation | None = None
    ) -> Float[Tensor, "B *T n width"]:
        """Attend within sequences `[B, n, width]`, or frame-causally in `[B, T, n, width]`.

        In the second form a token sees all tokens of its own and of earlier frames.
        """
        dropout = self.dropout if self.training else 0.0
        tokens = x.shape[1:-1].numel()
        if tokens == 1 and dropout == 0.0:  # the softmax over one token is 1: only values count
            return self.mix(self.project(x, first=2, count=1))
        projected = self.project(x, first=0, count=3)  # [B, *T, n, 3 inner]
        query, key = self.turned(projected[..., : 2 * self.inner], rotation).unbind(-3)
        value = self.heads(projected[..., 2 * self.inner :])
        attention = attend if x.ndim == 3 else attend_frames
        out = attention(query, key, value, dropout=dropout).flatten(-2)  # [B, *T, n, inner]
        return F.dropout(self.mix(out), dropout)

    def project(
        self, x: Float[Tensor, "*b width"], *, first: int, count: int
    ) -> Float[Tensor, "*b parts"]:
        """Compute some of queries (0), keys (1) and values (2), side by side."""
        rows = slice(first * self.inner, (first + count) * self.inner)
        return linear(x, self.qkv.weight, bias=self.qkv.bias, rows=rows)

    def mix(self, heads: Float[Tensor, "*b inner"]) -> Float[Tensor, "*b width"]:
        """Bring what the heads found back to the model's width."""
        return linear(heads, self.proj.weight, bias=self.proj.bias)

    def shortcut(self) -> Shortcut | None:
        """Return values and their mixture as one map; None where that is no smaller than mixing."""
        width = self.proj.out_features
        if width >= self.inner:
            return None
        weight = self.proj.weight @ self.qkv.weight[2 * self.inner :]
        if self.qkv.bias is None:
            return weight, self.proj.bias
        return weight, self.mix(self.qkv.bias[2 * self.inner :])

    def turned(
        self, projected: Float[Tensor, "*b n both"], rotation: Rotation | None
    ) -> Float[Tensor, "*c n parts heads h"]:
        """Turn queries or keys, or both side by side, and split them into parts and heads."""
        parts = projected.unflatten(-1, (-1, self.inner))  # [*b, n, parts, inner]
        return self.heads(parts if rotation is None else rotate(parts, rotation))

    def heads(self, x: Float[Tensor, "*b inner"]) -> Float[Tensor, "*b heads h"]:
        """Split channels into heads."""
        return x.unflatten(-1, (self.num_heads, self.head_dim))


class FeedForward(nn.Module):
    """Linear, exact GELU, linear."""

    def __init__(self, width: int, hidden: int, *, dropout: float = 0.0) -> None:
        """Take the model width and the hidden width."""
        super().__init__()
        self.hidden = hidden
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)
        self.dropout = dropout

    def forward(self, x: Float[Tensor, "*b width"]) -> Float[Tensor, "*b width"]:
        """Map each token alone."""
        dropout = self.dropout if self.training else 0.0
        hidden = linear(x, self.fc1.weight, bias=self.fc1.bias, gelu=True)
        out = linear(F.dropout(hidden, dropout), self.fc2.weight, bias=self.fc2.bias)
        return F.dropout(out, dropout)


Modulation = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]
"""Shift, scale and gate of attention, then of the feed-forward part, `[*b, 1, width]` each."""


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
        x: Float[Tensor, "B *T n width"],
        *,
        condition: Float[Tensor, "B *T width"] | None = None,
        rotation: Rotation | None = None,
    ) -> Float[Tensor, "B *T n width"]:
        """Transform sequences `[B, n, width]` or frames `[B, T, n, width]`.

        `condition` is one code per sequence or frame; `rotation` turns queries and keys.
        """
        codes = self.modulate(condition)
        attended = self.attn(self.enter(x, codes), rotation=rotation)
        return self.leave(x, attended, codes=codes)

    def modulate(self, condition: Float[Tensor, "*b width"] | None) -> Modulation | None:
        """Return what AdaLN makes of a condition; None in a block without it."""
        if self.modulation is None or condition is None:
            return None
        codes = linear(F.silu(condition), self.modulation.weight, bias=self.modulation.bias)
        codes = codes.unsqueeze(-2)  # [*b, 1, 6 width]
        shift1, scale1, gate1, shift2, scale2, gate2 = codes.chunk(6, dim=-1)
        return shift1, 1 + scale1, gate1, shift2, 1 + scale2, gate2

    def enter(
        self, x: Float[Tensor, "*b n width"], codes: Modulation | None
    ) -> Float[Tensor, "*b n width"]:
        """Return what attention gets to see of `x`."""
        normed = self.norm1(x)
        return normed if codes is None else torch.addcmul(codes[0], normed, codes[1])

    def leave(
        self,
        x: Float[Tensor, "*b n width"],
        attended: Float[Tensor, "*c n width"],
        *,
        codes: Modulation | None,
    ) -> Float[Tensor, "*c n width"]:
        """Add what attention found to `x`, then the feed-forward part."""
        packed = splitting(x, self.mlp.fc1.weight)
        if packed is not None and not self.training:  # no dropout
            return self._leave_split(x, attended, codes=codes, packed=packed)
        if codes is None:
            x = x + attended
            return x + self.mlp(self.norm2(x))
        _, _, gate1, shift2, scale2, gate2 = codes
        x = torch.addcmul(x, gate1, attended)
        return torch.addcmul(x, gate2, self.mlp(torch.addcmul(shift2, self.norm2(x), scale2)))

    def _leave_split(
        self, x: Tensor, attended: Tensor, *, codes: Modulation | None, packed: PackedWeights
    ) -> Tensor:
        first, second = self.mlp.fc1, self.mlp.fc2
        every = slice(None)
        shape = torch.broadcast_shapes(x.shape, attended.shape)
        return split_leave(
            x.expand(shape),
            attended.expand(shape),
            norm=self.norm2,
            codes=None if codes is None else codes[2:],
            weights=(
                packed.find_split(first.weight, every),
                packed.find_split(second.weight, every),
            ),
            biases=(first.bias, second.bias),
        )
