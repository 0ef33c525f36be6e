"""Transformer blocks shared by predictors and encoders.

Attention has no mask tensors: softmax over all keys, or over own and earlier frames.
"""

from functools import partial

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from jepawm.models.positions import Rotation, rotate

_OUTER_EPS = 1e-6
"""Epsilon of norms without weights, whatever that of the others."""


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
        if x.shape[1:-1].numel() == 1 and dropout == 0.0:
            return self.proj(self._values(x))  # the softmax over one token is 1
        qkv = self.qkv(x).unflatten(-1, (3, self.inner))  # [B, *T, n, 3, inner]
        turned = qkv[..., :2, :] if rotation is None else rotate(qkv[..., :2, :], rotation)
        heads = (self.num_heads, self.head_dim)
        query, key = turned.unflatten(-1, heads).unbind(-3)  # [B, *T, n, heads, h]
        value = qkv[..., 2, :].unflatten(-1, heads)
        attention = attend if x.ndim == 3 else attend_frames
        out = attention(query, key, value, dropout=dropout).flatten(-2)  # [B, *T, n, inner]
        return F.dropout(self.proj(out), dropout)

    def _values(self, x: Float[Tensor, "*b width"]) -> Float[Tensor, "*b inner"]:
        rows = slice(2 * self.inner, None)
        bias = None if self.qkv.bias is None else self.qkv.bias[rows]
        return F.linear(x, self.qkv.weight[rows], bias)


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
        hidden = F.dropout(F.gelu(self.fc1(x)), dropout)
        return F.dropout(self.fc2(hidden), dropout)


class Block(nn.Module):
    """Pre-norm transformer block, modulated by a condition where AdaLN is on.

    With AdaLN the condition `c` gives shift, scale and gate of both branches:
    `x + gate * Attn(LN(x) * (1 + scale) + shift)`, then the same around the feed-forward part.
    With inner norms (LeWorldModel) those of `x` have no weights, and what the condition made of them
    passes a second norm, which has.
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
        inner_norm: bool = False,
    ) -> None:
        """Take widths; `modulated` adds the AdaLN linear layer, `inner_norm` the second norms."""
        super().__init__()
        outer = partial(nn.LayerNorm, width, elementwise_affine=not inner_norm)
        self.norm1 = outer(eps=_OUTER_EPS if inner_norm else norm_eps)
        self.attn = Attention(
            width, num_heads, head_dim=head_dim, qkv_bias=qkv_bias, dropout=dropout
        )
        self.norm2 = outer(eps=_OUTER_EPS if inner_norm else norm_eps)
        self.inner1 = nn.LayerNorm(width, eps=norm_eps) if inner_norm else None
        self.inner2 = nn.LayerNorm(width, eps=norm_eps) if inner_norm else None
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
        if self.modulation is None or condition is None:
            x = x + self.attn(self.seen1(self.norm1(x)), rotation=rotation)
            return x + self.mlp(self.seen2(self.norm2(x)))
        codes = self.modulation(F.silu(condition)).unsqueeze(-2)  # [B, *T, 1, 6 width]
        shift1, scale1, gate1, shift2, scale2, gate2 = codes.chunk(6, dim=-1)
        seen = self.seen1(torch.addcmul(shift1, self.norm1(x), 1 + scale1))
        x = torch.addcmul(x, gate1, self.attn(seen, rotation=rotation))
        seen = self.seen2(torch.addcmul(shift2, self.norm2(x), 1 + scale2))
        return torch.addcmul(x, gate2, self.mlp(seen))

    def seen1(self, x: Float[Tensor, "*b width"]) -> Float[Tensor, "*b width"]:
        """Return what attention sees of modulated tokens."""
        return x if self.inner1 is None else self.inner1(x)

    def seen2(self, x: Float[Tensor, "*b width"]) -> Float[Tensor, "*b width"]:
        """Return what the feed-forward part sees of modulated tokens."""
        return x if self.inner2 is None else self.inner2(x)


def attend_frames(
    query: Float[Tensor, "B T n heads h"],
    key: Float[Tensor, "B T n heads h"],
    value: Float[Tensor, "B T n heads h"],
    *,
    dropout: float = 0.0,
) -> Float[Tensor, "B T n heads h"]:
    """Let each token see all tokens of its own and of earlier frames.

    The queries of one frame see the same keys, so that one dense product per frame does what a
    mask over all frames would: no mask is stored and nothing is computed to be masked out.
    """
    if query.shape[2] == 1:  # one token per frame: causal attention over the frames
        flat = (part.squeeze(2) for part in (query, key, value))
        return _fused(*flat, dropout=dropout, causal=True).unsqueeze(2)
    frames = [
        attend(
            query[:, frame],
            key[:, : frame + 1].flatten(1, 2),
            value[:, : frame + 1].flatten(1, 2),
            dropout=dropout,
        )
        for frame in range(query.shape[1])
    ]
    return frames[0].unsqueeze(1) if len(frames) == 1 else torch.stack(frames, dim=1)


def attend(
    query: Float[Tensor, "B L heads h"],
    key: Float[Tensor, "B S heads h"],
    value: Float[Tensor, "B S heads h"],
    *,
    dropout: float = 0.0,
) -> Float[Tensor, "B L heads h"]:
    """Return softmax(q k^T h^-1/2) v over all keys."""
    if key.shape[1] == 1 and dropout == 0.0:  # the softmax over one key is 1
        return value.expand_as(query)
    return _fused(query, key, value, dropout=dropout, causal=False)


def block_causal_mask(num_frames: int, tokens_per_frame: int) -> Bool[Tensor, "L L"]:
    """Return what `attend_frames` amounts to as a mask `[L, L]`, for checks and comparisons."""
    frame = torch.arange(num_frames).repeat_interleave(tokens_per_frame)
    return frame[:, None] >= frame[None, :]


def _fused(query: Tensor, key: Tensor, value: Tensor, *, dropout: float, causal: bool) -> Tensor:
    """Call the fused kernel; off the CPU heads are padded to a width that has one."""
    width = query.shape[-1]
    excess = -width % 8 if query.device.type != "cpu" else 0
    if excess:
        query, key, value = (F.pad(part, (0, excess)) for part in (query, key, value))
    out = F.scaled_dot_product_attention(
        query.transpose(1, 2),
        key.transpose(1, 2),
        value.transpose(1, 2),
        dropout_p=dropout,
        is_causal=causal,
        scale=width**-0.5,
    ).transpose(1, 2)  # [B, L, heads, h]
    return out[..., :width] if excess else out
