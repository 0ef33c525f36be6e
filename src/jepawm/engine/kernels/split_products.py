"""float32 products as three products of bfloat16, on the matrix tiles (AMX) of newer Intel CPUs.

The kernels are in `split_products.cpp`. Errors of products are about 3e-6 of their size; those of float32
products are 3e-7, of bfloat16 products 3e-3.
"""

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import torch
from jaxtyping import Float
from torch import Tensor, nn

from jepawm.engine.kernels.library import library
from jepawm.engine.kernels.split_attention import attention_formulas


@dataclass(frozen=True)
class SplitWeight:
    """A weight as highs and lows, in tiles."""

    tiles: Tensor
    """Two bytes for each high and low."""
    num_outputs: int
    """Rows of the weight."""


def split_weight(weight: Float[Tensor, "n_out n_in"]) -> SplitWeight:
    """Split a contiguous weight on the CPU."""
    num_outputs, num_inputs = weight.shape
    size = library().jepawm_packed_size(num_outputs, num_inputs)
    numbers = torch.empty(size + 32, dtype=torch.int16)
    start = -numbers.data_ptr() // 2 % 32  # tiles are read fastest from multiples of 64 bytes
    tiles = numbers[start : start + size]
    library().jepawm_pack(weight.data_ptr(), num_outputs, num_inputs, tiles.data_ptr())
    return SplitWeight(tiles, num_outputs)


def split_linear(
    x: Float[Tensor, "*b n_in"],
    weight: SplitWeight,
    *,
    bias: Float[Tensor, " n_out"] | None,
    gelu: bool = False,
) -> Float[Tensor, "*b n_out"]:
    """Return `x weight^T + bias`, through GELU if wanted."""
    define_operators()
    return torch.ops.jepawm.split_linear(
        x.contiguous(), weight.tiles, bias, weight.num_outputs, gelu
    )


def _linear(x: Tensor, tiles: Tensor, bias: Tensor | None, num_outputs: int, gelu: bool) -> Tensor:
    out = x.new_empty(*x.shape[:-1], num_outputs)
    num_inputs = x.shape[-1]
    library().jepawm_linear(
        x.data_ptr(),
        x.numel() // num_inputs,
        num_inputs,
        tiles.data_ptr(),
        _pointer(bias),
        num_outputs,
        gelu,
        out.data_ptr(),
    )
    return out


class _Codes(ctypes.Structure):
    """What AdaLN makes of a condition; row r of the tokens has row (r / tokens) % count of it."""

    _fields_ = (
        ("parts", ctypes.c_void_p * 4),
        ("strides", ctypes.c_long * 4),
        ("count", ctypes.c_long),
        ("tokens", ctypes.c_long),
    )


def split_leave(
    x: Float[Tensor, "*b n width"],
    attended: Float[Tensor, "*b n width"],
    *,
    norm: nn.LayerNorm,
    codes: Sequence[Float[Tensor, "*c 1 width"]] | None,
    weights: tuple[SplitWeight, SplitWeight],
    biases: tuple[Tensor | None, Tensor | None],
) -> Float[Tensor, "*b n width"]:
    """Return `y + gate2 * MLP(LN(y) * scale2 + shift2)` with `y = x + gate1 * attended`.

    Args:
        x: tokens.
        attended: what attention found.
        norm: the norm.
        codes: first gate, second shift, scale and gate, for the last of the axes `*b`; or none.
        weights: of the two maps of the MLP.
        biases: of these.
    """
    define_operators()
    return torch.ops.jepawm.split_leave(
        x.contiguous(),
        attended.contiguous(),
        [norm.weight, norm.bias],
        norm.eps,
        [code.flatten(0, -3) for code in codes or []],
        [weight.tiles for weight in weights],
        biases,
        weights[0].num_outputs,
    )


def _leave(
    x: Tensor,
    attended: Tensor,
    norm: list[Tensor],
    eps: float,
    codes: list[Tensor],
    tiles: list[Tensor],
    biases: list[Tensor | None],
    hidden: int,
) -> Tensor:
    out = torch.empty_like(x)
    width = x.shape[-1]
    told = None
    if codes:
        pointers = (ctypes.c_void_p * 4)(*(part.data_ptr() for part in codes))
        strides = (ctypes.c_long * 4)(*(part.stride(0) for part in codes))
        told = ctypes.byref(_Codes(pointers, strides, len(codes[0]), x.shape[-2]))
    library().jepawm_leave(
        *(x.data_ptr(), attended.data_ptr(), x.numel() // width, width),
        *(norm[0].data_ptr(), norm[1].data_ptr(), eps, told),
        *(tiles[0].data_ptr(), _pointer(biases[0]), hidden),
        *(tiles[1].data_ptr(), _pointer(biases[1]), out.data_ptr()),
    )
    return out


def _pointer(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()


@cache
def define_operators() -> torch.library.Library:
    """Make the kernels operators of torch, so that their operations are counted."""
    found = torch.library.Library("jepawm", "FRAGMENT")
    found.define("split_linear(Tensor x, Tensor tiles, Tensor? bias, int n, bool gelu) -> Tensor")
    found.impl("split_linear", _linear, "CPU")
    found.define(
        "split_leave(Tensor x, Tensor attended, Tensor[] norm, float eps, Tensor[] codes,"
        " Tensor[] tiles, Tensor?[] biases, int hidden) -> Tensor"
    )
    found.impl("split_leave", _leave, "CPU")
    return found


def kernel_formulas() -> dict[object, Callable[..., int]]:
    """Return the FLOP of the float32 operations that our kernels stand for, for `count_gflop`."""
    define_operators()
    operators = torch.ops.jepawm
    return {
        operators.split_linear: _count_product,
        operators.split_leave: _count_second_half,
        **attention_formulas(),
    }


def _count_product(x: torch.Size, *args: object, **_kwargs: object) -> int:
    num_outputs = args[2]  # after tiles and bias
    assert isinstance(num_outputs, int)
    return 2 * x.numel() * num_outputs


def _count_second_half(x: torch.Size, *args: object, **_kwargs: object) -> int:
    hidden = args[6]  # after attended, norm, eps, codes, tiles and biases
    assert isinstance(hidden, int)
    return 4 * x.numel() * hidden
