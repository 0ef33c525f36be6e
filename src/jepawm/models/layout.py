"""Modules without numbers: what a configuration describes, before memory or time is spent on it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

_DRAWING = frozenset(
    ["normal_", "uniform_", "erfinv_", "clamp_", "add_", "mul_", "div_", "zero_", "fill_", "copy_"]
)
"""What initialisation does to tensors in place; none of it changes a shape."""


@contextmanager
def layout_only() -> Iterator[None]:
    """Build modules whose tensors have shapes and nothing else.

    torch would trace the drawing of initial numbers through its compiler, whose import takes longer
    than loading a model.
    """
    with torch.device("meta"), _WithoutDrawing():
        yield


class _WithoutDrawing(TorchFunctionMode):
    """Leave tensors without numbers as they are."""

    def __torch_function__(self, func, types, args=(), kwargs=None):  # noqa: ANN001, ANN204
        given = (*args, *(kwargs or {}).values())
        if given and isinstance(given[0], Tensor) and given[0].is_meta and _draws(func):
            return given[0]
        if func is torch.randn:
            return torch.empty(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def _draws(func: Callable[..., object]) -> bool:
    named = getattr(func, "__module__", None), getattr(func, "__name__", None)
    return named[0] == "torch.nn.init" or named[1] in _DRAWING
