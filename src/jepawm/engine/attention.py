"""Attention to keys and values that are stored in parts, and to few of them."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from jepawm.engine.kernels.split_attention import attend_many_split, attend_split
from jepawm.models.blocks import attend


def attend_parts(
    query: Float[Tensor, "B L heads h"],
    keys: Sequence[Float[Tensor, "B _ heads h"]],
    values: Sequence[Float[Tensor, "B _ heads h"]],
    *,
    split: bool,
) -> Float[Tensor, "B L heads h"]:
    """Attend to keys and values stored in parts; `split` its products, where there is no gradient."""
    if split and _can_split(query) and (len(keys) > 1 or keys[0].shape[1] > 1):
        return attend_many_split(query, keys, values)
    if len(keys) == 1:
        return attend(query, keys[0], values[0])
    return attend(query, _joined(keys), _joined(values))


def attend_to_few(
    query: Float[Tensor, "V R 1 heads h"],
    keys: Sequence[Float[Tensor, "_ R 1 heads h"]],
    values: Sequence[Float[Tensor, "_ R 1 heads h"]],
    *,
    split: bool,
) -> Float[Tensor, "V R 1 heads h"]:
    """Attend from single tokens to a few, in windows `V`.

    The last key is seen from all windows, an earlier one from the last so many of them. Fused kernels
    are made for many keys.
    """
    if split and _can_split(query):
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


def _joined(parts: Sequence[Float[Tensor, "B _ heads h"]]) -> Float[Tensor, "B S heads h"]:
    """Join parts so that each head is contiguous in memory: the fused kernel reads it faster."""
    return torch.cat([part.transpose(1, 2) for part in parts], dim=2).transpose(1, 2)


def _can_split(query: Tensor) -> bool:
    return query.dtype == torch.float32 and not torch.is_grad_enabled()
