"""Attention without mask tensors: softmax over all keys, or over own and earlier frames."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from jepawm.kernels.split_attention import attend_many_split, attend_split
from jepawm.kernels.split_products import is_splitting


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
    if dropout == 0.0 and _is_split(query):
        return attend_many_split(query, [key], [value])
    return _fused(query, key, value, dropout=dropout, causal=False)


def attend_parts(
    query: Float[Tensor, "B L heads h"],
    keys: Sequence[Float[Tensor, "B _ heads h"]],
    values: Sequence[Float[Tensor, "B _ heads h"]],
) -> Float[Tensor, "B L heads h"]:
    """Attend to keys and values that lie in parts."""
    if len(keys) == 1:
        return attend(query, keys[0], values[0])
    if _is_split(query):
        return attend_many_split(query, keys, values)
    return attend(query, _joined(keys), _joined(values))


def _joined(parts: Sequence[Float[Tensor, "B _ heads h"]]) -> Float[Tensor, "B S heads h"]:
    """Join parts so that each head lies together in memory: the fused kernel reads it faster."""
    return torch.cat([part.transpose(1, 2) for part in parts], dim=2).transpose(1, 2)


def attend_to_few(
    query: Float[Tensor, "V R 1 heads h"],
    keys: Sequence[Float[Tensor, "_ R 1 heads h"]],
    values: Sequence[Float[Tensor, "_ R 1 heads h"]],
) -> Float[Tensor, "V R 1 heads h"]:
    """Attend from single tokens to a few, in windows `V`.

    The last key is seen from all windows, an earlier one from the last so many of them. Fused kernels
    are made for many keys.
    """
    if _is_split(query):
        return attend_split(query, keys, values)
    num_windows = len(query)
    shape = (len(keys), *query.shape[:-1], 1)
    scores = query.new_full(shape, float("-inf"))  # [S, V, R, 1, heads, 1]
    for index, key in enumerate(keys):
        first = num_windows - len(key)
        scores[index, first:] = (query[first:] * key).sum(-1, keepdim=True)
    weights = (scores * query.shape[-1] ** -0.5).softmax(0)
    out = values[-1] * weights[-1]
    for value, weight in zip(values[:-1], weights[:-1], strict=True):
        first = num_windows - len(value)
        out[first:].addcmul_(value, weight[first:])
    return out


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


def _is_split(query: Tensor) -> bool:
    return is_splitting() and query.dtype == torch.float32 and not torch.is_grad_enabled()
