"""FLOP of our own kernels, counted as those of the float32 operations that they stand for."""

from collections.abc import Callable

import torch

from jepawm.engine.kernels import split_attention, split_products


def kernel_formulas() -> dict[object, Callable[..., int]]:
    """Return formulas for `count_gflop`, by operator."""
    split_products.define_operators()
    split_attention.define_operators()
    operators = torch.ops.jepawm
    return {
        operators.split_linear: _product,
        operators.split_leave: _second_half,
        operators.split_attend: _attention,
    }


def _product(x: torch.Size, *args: object, **_kwargs: object) -> int:
    num_outputs = args[2]  # after tiles and bias
    assert isinstance(num_outputs, int)
    return 2 * x.numel() * num_outputs


def _second_half(x: torch.Size, *args: object, **_kwargs: object) -> int:
    hidden = args[6]  # after attended, norm, eps, codes, tiles and biases
    assert isinstance(hidden, int)
    return 4 * x.numel() * hidden


def _attention(query: torch.Size, keys: list[torch.Size], *_args: object, **_kwargs: object) -> int:
    return 4 * query.numel() * sum(key[1] for key in keys)
