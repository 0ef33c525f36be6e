"""What training costs: operations, seconds and memory, measured on a real step."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from statistics import median
from time import perf_counter
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.utils import clip_grad_norm_

from jepawm.compute import count_gflop
from jepawm.contracts import Objective
from jepawm.data.windows import Windows
from jepawm.models.world_model import JEPAWorldModel
from jepawm.proposals import ProposalConfig
from jepawm.training.devices import Precision
from jepawm.training.losses import Learner
from jepawm.training.optim import OptimConfig
from jepawm.training.parts import PartHooks
from jepawm.training.proposals import new_state, train_proposer
from jepawm.types import EncodedObservation, Observation, Trajectory

_TIMED = (3, 12)
"""Fewest and most steps that are timed."""
_ENOUGH = 3.0
"""Seconds of steps after which no more are timed."""


@dataclass(frozen=True, kw_only=True)
class StepCost:
    """One training step, measured."""

    gflop: float
    """Operations of matrix products, convolutions and attention, forward and backward."""
    seconds: float
    """Wall time, counting operations included."""
    loss: float
    """Its loss."""
    activations: int
    """Bytes that the backward pass needs besides parameters."""
    encoder_layer: int
    """Bytes of input and output of the largest layer of the encoder of images."""


def measure_step(
    learner: Learner, optimizer: torch.optim.Optimizer, *, batch: Trajectory
) -> StepCost:
    """Take one optimiser step on `batch` and measure it."""
    saved, layers = _Saved(learner), _Layers()
    losses: list[Tensor] = []

    def step() -> None:
        with saved.watch(), layers.watch(learner.model.encoder):
            loss = learner(batch, generator=torch.Generator().manual_seed(0))["loss"]
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())

    start = perf_counter()
    gflop = count_gflop(step)
    loss = losses[0].item()  # waits for an asynchronous device
    return StepCost(
        gflop=gflop,
        seconds=perf_counter() - start,
        loss=loss,
        activations=sum(saved.sizes.values()),
        encoder_layer=layers.largest,
    )


def time_step(
    learner: Learner,
    optimizer: torch.optim.Optimizer,
    *,
    batch: Trajectory,
    precision: Precision = "float32",
) -> float:
    """Return the seconds of a training step on `batch`, the median of warmed-up ones.

    The first step pays for memory and for what is made once; it does not count. The forward pass
    runs in `precision`, as training does: processors without bfloat16 are slower in it.
    """
    half = precision == "bfloat16"
    seconds: list[float] = []
    while len(seconds) < _TIMED[1] and (len(seconds) < _TIMED[0] or sum(seconds) < _ENOUGH):
        start = perf_counter()
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(batch.actions.device.type, dtype=torch.bfloat16, enabled=half):
            loss = learner(batch, generator=torch.Generator().manual_seed(0))["loss"]
        loss.backward()
        clip_grad_norm_(learner.parameters(), 1.0)
        optimizer.step()
        loss.item()  # waits for an asynchronous device
        seconds.append(perf_counter() - start)
    return median(seconds[1:])


def time_encoding(
    learner: Learner, obs: Observation | EncodedObservation
) -> tuple[float, Float[Tensor, "*b T1 N D"]]:
    """Return the seconds that a frame takes once the encoder is kept, and the tokens; warmed up."""
    learner.eval()
    with torch.no_grad():
        learner.encode(obs)
        start = perf_counter()
        tokens = learner.encode(obs).tokens
        tokens.sum().item()  # waits for an asynchronous device
        seconds = perf_counter() - start
    learner.train()
    return seconds / obs.batch_shape.numel(), tokens


def time_proposer_step(
    model: JEPAWorldModel,
    windows: Windows,
    *,
    objective: Objective,
    config: ProposalConfig,
    horizon: int,
) -> float:
    """Return the seconds of a step that trains a proposer of `horizon` blocks, the mean of warmed-up ones.

    Steps differ: some problems are shorter than others. The model is frozen as it is.
    """
    state = new_state(model, windows, objective=objective, config=config, horizon=horizon, seed=0)
    moments: list[float] = []

    def stop() -> bool:
        moments.append(perf_counter())
        done = len(moments) - 1
        return done > _TIMED[1] or (done > _TIMED[0] and moments[-1] - moments[1] > _ENOUGH)

    hooks = PartHooks(log=lambda _step, _metrics: None, save=lambda: None, stop=stop)
    many = replace(config, num_steps=_TIMED[1] + 2)
    train_proposer(
        state, model, windows=windows, objective=objective, config=many, seed=0, hooks=hooks
    )
    return (moments[-1] - moments[1]) / (len(moments) - 2)


def gflop_per_step(learner: Learner, batch: Trajectory) -> float:
    """Count the GFLOP of one step, forward and backward, on `batch`."""

    def step() -> None:
        learner(batch, generator=torch.Generator().manual_seed(0))["loss"].backward()

    gflop = count_gflop(step)
    learner.zero_grad(set_to_none=True)
    return gflop


def training_gflop(
    learner: Learner, batch: Trajectory, *, optim: OptimConfig, num_steps: int
) -> float:
    """Count the GFLOP of the first `num_steps` steps, of which some may train the predictor alone.

    The batch holds what the first step saw.
    """
    encoder = cast(nn.Module, learner.model.encoder)
    learns = any(parameter.requires_grad for parameter in encoder.parameters())
    learning = num_steps
    if optim.encoder_steps is not None and not isinstance(batch.obs, EncodedObservation):
        learning = min(num_steps, optim.encoder_steps)
        encoder.requires_grad_()
    gflop = learning * gflop_per_step(learner, batch)
    encoder.requires_grad_(learns)
    if learning < num_steps:
        with torch.no_grad():
            tokens = learner.encode(batch.obs).tokens
        encoded = EncodedObservation(tokens=tokens, proprio=batch.obs.proprio)
        gflop += (num_steps - learning) * gflop_per_step(learner, replace(batch, obs=encoded))
    return gflop


class _Saved:
    """Sizes of the storages that autograd keeps, without those of parameters."""

    def __init__(self, learner: nn.Module) -> None:
        self.sizes: dict[int, int] = {}
        self._own = {p.untyped_storage().data_ptr() for p in learner.parameters()}

    @contextmanager
    def watch(self) -> Iterator[None]:
        with saved_tensors_hooks(self._pack, lambda tensor: tensor):
            yield

    def _pack(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self._own:
            self.sizes[storage.data_ptr()] = storage.nbytes()
        return tensor


@dataclass
class _Layers:
    """The largest layer seen, by the bytes of its input and output."""

    largest: int = field(default=0)

    @contextmanager
    def watch(self, encoder: object) -> Iterator[None]:
        modules = encoder.modules() if isinstance(encoder, nn.Module) else ()
        leaves = [module for module in modules if not list(module.children())]
        hooks = [leaf.register_forward_hook(self._see) for leaf in leaves]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def _see(self, _module: nn.Module, inputs: tuple[object, ...], output: object) -> None:
        tensors = [one for one in (*inputs, output) if isinstance(one, Tensor)]
        self.largest = max(self.largest, sum(one.numel() * one.element_size() for one in tensors))
