"""The moving average of a network, the teacher of self-supervised methods."""

from copy import deepcopy
from math import cos, pi
from typing import TypeVar

import torch
from torch import nn

Module = TypeVar("Module", bound=nn.Module)


def new_average(module: Module) -> Module:
    """Return a copy that takes no gradients, where the average starts."""
    return deepcopy(module).requires_grad_(requires_grad=False)


@torch.no_grad()
def follow(average: nn.Module, module: nn.Module, *, momentum: float) -> None:
    """Move the average towards the module: a part `momentum` of it stays."""
    for slow, fast in zip(average.parameters(), module.parameters(), strict=True):
        slow.lerp_(fast, 1.0 - momentum)


def momentum_at(start: float, progress: float) -> float:
    """Return the momentum after a part `progress` of the training: from `start` to 1."""
    return 1.0 - (1.0 - start) * 0.5 * (1 + cos(pi * progress))
