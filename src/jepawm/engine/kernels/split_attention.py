"""Attention in one pass, by the kernels of `split_attention.cpp`."""

import ctypes
from collections.abc import Callable, Sequence
from functools import cache

import torch
from jaxtyping import Float
from torch import Tensor

from jepawm.engine.kernels.library import library


class _Part(ctypes.Structure):
    """Queries, keys or values `[V, R, 1, heads, h]` of one frame."""

    _fields_ = (
        ("start", ctypes.c_void_p),
        ("window_stride", ctypes.c_long),
        ("candidate_stride", ctypes.c_long),
        ("windows", ctypes.c_long),
    )


def attend_split(
    query: Float[Tensor, "V R 1 heads h"],
    keys: Sequence[Float[Tensor, "_ R 1 heads h"]],
    values: Sequence[Float[Tensor, "_ R 1 heads h"]],
) -> Float[Tensor, "V R 1 heads h"]:
    """Do what `attend_to_few` does, in float32 but in one pass."""
    define_operators()
    return torch.ops.jepawm.attend_few(query, list(keys), list(values))


def _attend(query: Tensor, keys: list[Tensor], values: list[Tensor]) -> Tensor:
    num_heads, width = query.shape[-2:]
    read = [_heads_together(part) for part in (query, *keys, *values)]
    parts = [_Part(part.data_ptr(), part.stride(0), part.stride(1), len(part)) for part in read]
    out = torch.empty(query.shape, dtype=query.dtype)
    library().jepawm_attend(
        *(ctypes.byref(parts[0]), (_Part * (len(parts) - 1))(*parts[1:]), len(keys)),
        *(query.shape[1], num_heads, width, out.data_ptr()),
    )
    return out


class _Tokens(ctypes.Structure):
    """Queries, keys or values `[B, L, heads, h]`."""

    _fields_ = (
        ("start", ctypes.c_void_p),
        ("batch_stride", ctypes.c_long),
        ("token_stride", ctypes.c_long),
        ("count", ctypes.c_long),
    )


def attend_many_split(
    query: Float[Tensor, "B L heads h"],
    keys: Sequence[Float[Tensor, "B _ heads h"]],
    values: Sequence[Float[Tensor, "B _ heads h"]],
) -> Float[Tensor, "B L heads h"]:
    """Do what `attend_parts` does, with split products."""
    define_operators()
    return torch.ops.jepawm.split_attend(query, list(keys), list(values))


def _attend_many(query: Tensor, keys: list[Tensor], values: list[Tensor]) -> Tensor:
    num_heads, width = query.shape[-2:]
    read = [_heads_together(part) for part in (query, *keys, *values)]
    parts = [
        _Tokens(part.data_ptr(), part.stride(0), part.stride(1), part.shape[1]) for part in read
    ]
    out = torch.empty(query.shape, dtype=query.dtype)
    library().jepawm_attend_many(
        *(ctypes.byref(parts[0]), (_Tokens * (len(parts) - 1))(*parts[1:]), len(keys)),
        *(len(query), num_heads, width, out.data_ptr()),
    )
    return out


def _heads_together(part: Tensor) -> Tensor:
    """Return a tensor whose channels of all heads are side by side."""
    return part if part.stride()[-2:] == (part.shape[-1], 1) else part.contiguous()


@cache
def define_operators() -> torch.library.Library:
    """Make the kernels operators of torch, so that their operations are counted."""
    found = torch.library.Library("jepawm", "FRAGMENT")
    for name, function in (("attend_few", _attend), ("split_attend", _attend_many)):
        found.define(f"{name}(Tensor query, Tensor[] keys, Tensor[] values) -> Tensor")
        found.impl(name, function, "CPU")
    return found


def attention_formulas() -> dict[object, Callable[..., int]]:
    """Return the FLOP of the float32 attention that a kernel stands for, by operator."""
    define_operators()
    return {torch.ops.jepawm.split_attend: _count_attention}


def _count_attention(
    query: torch.Size, keys: list[torch.Size], *_args: object, **_kwargs: object
) -> int:
    return 4 * query.numel() * sum(key[1] for key in keys)
