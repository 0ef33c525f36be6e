"""The devices that a run trains on: how many processes, how they share the model, what precision.

Lightning Fabric finds the launcher (torchrun, SLURM), opens the process group and knows the
strategies. The learner is set up by the strategy itself and not by `Fabric.setup_module`, whose
wrapper refuses frozen dataclasses as input.
"""

import atexit
import logging
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from time import sleep
from typing import TYPE_CHECKING, Literal, cast

import torch
from jaxtyping import Int64
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint

from jepawm.engine.process import keep_compiled_code_private
from jepawm.errors import UserError
from jepawm.launch import Launch, read_launch
from jepawm.processes import count_processes, forget_groups, process_rank
from jepawm.training.losses import Learner

if TYPE_CHECKING:
    from lightning_fabric.plugins.environments.cluster_environment import ClusterEnvironment
    from lightning_fabric.strategies.strategy import Strategy
    from torch.distributed.device_mesh import DeviceMesh

_LET_GO_SECONDS = 0.2


Precision = Literal["float32", "bfloat16"]
"""Of the forward pass."""


@dataclass(frozen=True, kw_only=True)
class ComputeConfig:
    """How a training step is computed; how many devices there are is the launcher's to say."""

    strategy: Literal["auto", "ddp", "fsdp2"] = "auto"
    """How processes share the work. ddp (auto): each has the whole model and a slice of the batch;
    fsdp2: weights, gradients and moments are sharded too. One process has nothing to share."""
    precision: Precision = "float32"
    """bfloat16: matrix products in bfloat16, weights and statistics in float32 (autocast)."""
    accumulate: int = 1
    """Parts that a batch is cut into, one after the other, to save memory. Gradients are those of
    the mean; `accumulate_statistics` says what SIGReg, VICReg and batch norm see."""
    accumulate_statistics: Literal["parts", "batch"] = "parts"
    """parts: what is computed over a batch is computed over each part, so results differ from those of
    the whole batch; batch: they are those of the whole but for rounding, the encoder runs twice."""
    activation_checkpointing: bool = False
    """Compute each layer a second time in the backward pass instead of keeping its activations."""
    compile: bool = False
    """Compile the layers with torch.compile; the first steps take a minute or more."""

    def __post_init__(self) -> None:
        """Check ranges."""
        if self.accumulate < 1:
            raise UserError(f"compute.accumulate = {self.accumulate} must be at least 1")
        if self.accumulate_statistics == "batch" and self.strategy == "fsdp2":
            raise UserError(
                "compute.accumulate_statistics = batch is not there for compute.strategy = fsdp2; "
                "choose ddp, or parts"
            )


class Devices:
    """The devices of this run. The process group that they open stays for the next run."""

    def __init__(
        self, config: ComputeConfig, *, device: str, every_weight_used: bool = True
    ) -> None:
        """Join the other processes.

        Args:
            config: how they share the work.
            device: kind of device, the same for all.
            every_weight_used: whether all weights have a gradient in each step, else ddp looks
                for those that have none.
        """
        from lightning_fabric import Fabric
        from lightning_fabric.utilities.exceptions import MisconfigurationException

        launch = read_launch()
        try:
            with _warnings_alone("lightning_fabric"):
                self._fabric = Fabric(
                    accelerator=torch.device(device).type,
                    devices=launch.count // launch.num_nodes,
                    num_nodes=launch.num_nodes,
                    strategy=_strategy(config, launch.count, every_weight_used=every_weight_used),
                    precision="bf16-mixed" if config.precision == "bfloat16" else "32-true",
                    plugins=[_environment(launch)],
                )
                self._fabric.launch()
        except MisconfigurationException as error:
            raise UserError(
                f"{launch.count} processes on device {device}: {error}; start fewer processes"
            ) from error
        atexit.register(_leave)  # gloo aborts a process that ends with an open group
        self.config = config
        self.device = self._fabric.device

    def wrap(self, learner: Learner) -> nn.Module:
        """Move the learner here and return the module that a training step calls.

        Weights must be loaded before and the optimiser built after: fsdp2 shards the learner in
        place. Names of parameters stay.
        """
        layers = find_layers(learner)
        if self.config.activation_checkpointing:
            for layer in layers:
                if any(parameter.requires_grad for parameter in layer.parameters()):
                    layer.forward = partial(checkpoint, layer.forward, use_reentrant=False)
        if self.config.compile:
            keep_compiled_code_private()
            for layer in layers:
                layer.compile()
        if self.config.strategy == "fsdp2":
            # No layer's result is changed in place, which is what this warns of in every process.
            warnings.filterwarnings("ignore", message=r"FSDP2-wrapped module .* returned a view")
        self._fabric.strategy.module_to_device(learner.to(self.device))
        return self._fabric.strategy.setup_module(learner)

    def autocast(self) -> AbstractContextManager[object]:
        """Return the context of the forward pass, which sets the precision."""
        return self._fabric.autocast()

    def parts(self, index: Int64[Tensor, " B"]) -> list[Int64[Tensor, " b"]]:
        """Return this process's slice of each part of the global batch.

        So the parts do not depend on the number of processes.
        """
        shares = count_processes() * self.config.accumulate
        if len(index) % shares:
            raise UserError(
                f"a batch of {len(index)} windows does not divide by {count_processes()} processes x "
                f"compute.accumulate = {self.config.accumulate}; change optim.batch_size or one of "
                "these"
            )
        return list(index.view(self.config.accumulate, count_processes(), -1)[:, process_rank()])


def hold_gradients(module: nn.Module, *, held: bool) -> AbstractContextManager[object]:
    """Return a context in which backward passes keep their gradients in each process, if `held`."""
    from torch.distributed.fsdp import FSDPModule

    if isinstance(module, FSDPModule):
        module.set_requires_gradient_sync(not held)
    elif isinstance(module, DistributedDataParallel) and held:
        return module.no_sync()
    return nullcontext()


def find_layers(module: nn.Module) -> list[nn.Module]:
    """Return the layers of all stacks (`nn.ModuleList`): what is sharded, compiled, recomputed."""
    return [
        layer for stack in module.modules() if isinstance(stack, nn.ModuleList) for layer in stack
    ]


def join_processes() -> None:
    """Open the process group, on CPUs, for work that shares results and no weights."""
    if read_launch().count > 1:
        Devices(ComputeConfig(), device="cpu")


@contextmanager
def _warnings_alone(name: str) -> Iterator[None]:
    """Let a package log its warnings, and nothing below them, while this lasts."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)


def _leave() -> None:
    if not torch.distributed.is_initialized():
        return
    forget_groups()
    torch.distributed.destroy_process_group()
    # Caches of fsdp2 keep the group, and so its threads, alive. One that lets go of the tensors of
    # the last exchange while Python shuts down aborts the process (pytorch/pytorch#179291).
    sleep(_LET_GO_SECONDS)


def _strategy(config: ComputeConfig, count: int, *, every_weight_used: bool) -> "Strategy | str":
    from lightning_fabric.strategies.ddp import DDPStrategy
    from lightning_fabric.strategies.model_parallel import ModelParallelStrategy

    if count == 1:
        return "auto"
    if config.strategy == "fsdp2":
        return ModelParallelStrategy(_shard, data_parallel_size=count, tensor_parallel_size=1)
    return DDPStrategy(find_unused_parameters=not every_weight_used)


def _environment(launch: Launch) -> "ClusterEnvironment":
    from lightning_fabric.plugins.environments.lightning import LightningEnvironment
    from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
    from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment

    if launch.launcher == "torchrun":
        return TorchElasticEnvironment()
    if launch.launcher == "slurm":
        return SLURMEnvironment(auto_requeue=False)
    return LightningEnvironment()


def _shard(learner: nn.Module, mesh: "DeviceMesh") -> nn.Module:
    from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

    shards = cast("DeviceMesh", mesh["data_parallel"])
    for layer in reversed(find_layers(learner)):  # inner stacks first
        fully_shard(layer, mesh=shards)
    fully_shard(learner, mesh=shards)
    for method in ("encode", "rollout", "held_out"):  # what validation calls besides the loss
        register_fsdp_forward_method(learner, method)
    return learner
