"""What changes during training, and its way to tensors and back."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from math import inf, isfinite

import torch
from torch import Tensor, nn

from jepawm.errors import UserError
from jepawm.models.weight_files import stored_weights
from jepawm.processes import is_sharded
from jepawm.training.average import WeightAverage
from jepawm.training.losses import Learner

_MOMENT = "optimizer."
_HEADS = "heads."
_LEFT_OUT = "left_out"
_LEARNING = "learning."
_BEST = "best"


@dataclass(kw_only=True)
class TrainState:
    """The learner, its optimiser, and how many steps they have taken."""

    learner: Learner
    """World model and training heads; its weights are shards where a strategy says so."""
    module: nn.Module
    """What a step calls: the learner, or the wrapper that a strategy puts around it."""
    optimizer: torch.optim.AdamW
    """Optimiser over all parameters of the learner."""
    average: WeightAverage | None = None
    """Average of the model's weights; None where none is kept."""
    step: int = 0
    """Optimiser steps done."""
    seconds: float = 0.0
    """Wall seconds of training so far, over all resumptions."""
    seconds_before: float = 0.0
    """Those of earlier calls."""
    seconds_waited: float = 0.0
    """Those of this call in which the step waited for its batch, reading without workers included."""
    best: float = inf
    """Lowest value so far of the metric that `loop.keep_best` names."""
    left_out: frozenset[int] = frozenset()
    """Steps, counted from 0, that pass without learning: their batch gave no finite gradient."""


def weights_to_use(state: TrainState) -> dict[str, Tensor]:
    """Return by name the weights of the model that planning should have: the average, if one is kept.

    Shards stay shards.
    """
    if state.average is not None:
        return state.average.tensors()
    return stored_weights(state.learner.model)


def with_weights_to_use(state: TrainState) -> AbstractContextManager[None]:
    """Return a context in which the learner has these weights."""
    return nullcontext() if state.average is None else state.average.in_use()


def training_tensors(state: TrainState) -> dict[str, Tensor]:
    """Return by name all that a resumption needs besides the model: moments, heads, counters.

    Where the model's weights are stored as an average, those that learn are among them. Shards stay
    shards.
    """
    tensors = moments_of(state.learner, state.optimizer)
    heads = state.learner.inverse_dynamics
    if heads is not None:
        tensors |= {_HEADS + name: value for name, value in heads.state_dict().items()}
    if state.average is not None:
        tensors |= {_LEARNING + name: value for name, value in state.average.learning.items()}
    tensors["step"] = torch.tensor(state.step)
    tensors["seconds"] = torch.tensor(state.seconds, dtype=torch.float64)
    if isfinite(state.best):
        tensors[_BEST] = torch.tensor(state.best, dtype=torch.float64)
    if state.left_out:
        tensors[_LEFT_OUT] = torch.tensor(sorted(state.left_out))
    return tensors


def restore_heads(learner: Learner, tensors: Mapping[str, Tensor]) -> None:
    """Put the training heads back, before the learner is sharded."""
    heads = learner.inverse_dynamics
    if heads is not None:
        own = heads.state_dict()
        heads.load_state_dict({n: _take(tensors, _HEADS + n, like=v) for n, v in own.items()})


def restore_training(state: TrainState, tensors: Mapping[str, Tensor]) -> None:
    """Put optimiser moments and counters back; all weights are loaded before, averages as such."""
    state.step = int(_take(tensors, "step"))
    state.seconds = state.seconds_before = float(_take(tensors, "seconds"))
    state.best = float(tensors.get(_BEST, inf))
    state.left_out = frozenset(map(int, tensors.get(_LEFT_OUT, torch.empty(0))))
    if state.step > 0:
        restore_moments(state.learner, state.optimizer, tensors=tensors)
    if state.average is not None:
        with torch.no_grad():
            for name, value in state.average.learning.items():
                value.copy_(_placed_like(value, _take(tensors, _LEARNING + name, like=value)))


def moments_of(module: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return by name what an optimiser remembers of each parameter; shards stay shards."""
    return {
        f"{_MOMENT}{name}.{key}": value
        for name, parameter in module.named_parameters()
        for key, value in optimizer.state.get(parameter, {}).items()
    }


def restore_moments(
    module: nn.Module, optimizer: torch.optim.Optimizer, *, tensors: Mapping[str, Tensor]
) -> None:
    """Put back what `moments_of` returned after some steps; all of it must be there."""
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            kept = f"{_MOMENT}{name}."
            optimizer.state[parameter] = {
                "step": _take(tensors, kept + "step").clone(),
                "exp_avg": _placed_like(
                    parameter, _take(tensors, kept + "exp_avg", like=parameter)
                ),
                "exp_avg_sq": _placed_like(
                    parameter, _take(tensors, kept + "exp_avg_sq", like=parameter)
                ),
            }


def _placed_like(parameter: Tensor, value: Tensor) -> Tensor:
    """Return a copy of a whole tensor on the device of the parameter, sharded as it is."""
    copied = value.to(parameter.device, copy=True)
    if not is_sharded(parameter):
        return copied
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(
        copied, parameter.device_mesh, parameter.placements, src_data_rank=None
    )


def _take(tensors: Mapping[str, Tensor], name: str, *, like: Tensor | None = None) -> Tensor:
    """Return a tensor of the state: a number, or of the shape of `like`."""
    advice = "it belongs to another configuration, resume with the configuration of the run"
    if name not in tensors:
        raise UserError(f"the training state lacks {name}; {advice}")
    found, shape = tensors[name], () if like is None else tuple(like.shape)
    if tuple(found.shape) != shape:
        raise UserError(
            f"the training state has {name} {tuple(found.shape)}, not {shape}; {advice}"
        )
    return found
