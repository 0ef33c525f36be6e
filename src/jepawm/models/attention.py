"""Attention without mask tensors: softmax over all keys, or over own and earlier frames."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor


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
