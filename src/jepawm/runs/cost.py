"""`jepawm train R --dry-run`: what a training costs, from one real step on a synthetic batch.

The step runs with random weights on few windows. What is linear in the batch (operations,
activations) is multiplied; parameters are counted on a model without memory.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from jepawm.build import build_model, build_windows, with_encoder_weights
from jepawm.compute import free_memory
from jepawm.contracts import Encoder
from jepawm.data.episodes import open_store
from jepawm.envs import RECORDINGS, build_env
from jepawm.errors import UserError
from jepawm.experiment import Experiment
from jepawm.hub.datasets import DATASETS
from jepawm.models.frozen.encoder import AnyFrozenConfig
from jepawm.models.world_model import JEPAWorldModel
from jepawm.runs.datasets import store_path
from jepawm.training.cost import StepCost, measure_step
from jepawm.training.losses import Learner
from jepawm.training.optim import build_optimizer
from jepawm.types import EncodedObservation, Observation, Trajectory

_COPIES = {"weights": 1, "gradients": 1, "moments": 2}
"""What there is of each trained parameter."""


@dataclass(frozen=True, kw_only=True)
class MeasuredStep:
    """The step that ran."""

    windows: int
    """Windows in its batch."""
    device: str
    """Where it ran."""
    seconds: float
    """Its wall time."""
    gflop: float
    """Its operations."""
    loss: float
    """Its loss, with random weights."""


@dataclass(frozen=True, kw_only=True)
class TrainingCost:
    """What a training costs."""

    recipe: str
    """Name of the experiment."""
    parameters: Mapping[str, int]
    """Parameters by group, and their `total`."""
    batch_size: int
    """Windows in a batch."""
    num_devices: int
    """Devices that share the batch."""
    gflop_per_step: float
    """Operations of a step on the whole batch."""
    memory_bytes: int
    """Memory of one device."""
    memory: Mapping[str, int]
    """What takes it, in bytes."""
    steps: int
    """Steps of the whole training."""
    tflops: float
    """Sustained throughput of all devices together, given or measured."""
    hours: float
    """Time of all steps at this throughput."""
    measured: MeasuredStep
    """The step that all this is computed from."""


def dry_run(
    experiment: Experiment,
    *,
    data_root: Path,
    device: str,
    num_windows: int,
    num_devices: int = 1,
    tflops: float | None,
) -> TrainingCost:
    """Return parameters, GFLOP, memory and hours of a training, without training.

    Args:
        experiment: the configuration; a frozen encoder gets random weights here.
        data_root: where its data is stored, if it is there; only its size counts.
        device: where one step runs.
        num_windows: windows in the batch of that step, at most the recipe's.
        num_devices: devices that share the batch; each holds all weights.
        tflops: sustained throughput of all devices together; None: that of the measured step.
    """
    if min(num_windows, num_devices, 1.0 if tflops is None else tflops) <= 0:
        raise UserError(
            f"windows {num_windows}, devices {num_devices}, tflops {tflops}: give more than 0"
        )
    if isinstance(experiment.encoder, AnyFrozenConfig):
        experiment = with_encoder_weights(experiment, "random")
    size = experiment.optim.batch_size
    num_windows = min(num_windows, size)
    (action_dim, proprio_dim), total_windows = _data_size(experiment, data_root)
    with torch.device("meta"):
        model = build_model(experiment, action_dim=action_dim, proprio_dim=proprio_dim)
        learner = Learner(model, experiment.loss)
    parameters, fixed = parameter_counts(model), _fixed_memory(learner)
    _require_memory(sum(fixed.values()), device)
    step = _run_step(experiment, num_windows, device, dims=(action_dim, proprio_dim))
    factor = size / num_windows
    share = -(-size // num_devices)
    memory = fixed | _batch_memory(experiment, model, step, sizes=(share, num_windows))
    steps = experiment.optim.for_windows(total_windows).num_steps
    rate = step.gflop / step.seconds / 1000 if tflops is None else tflops
    return TrainingCost(
        recipe=experiment.name,
        parameters=parameters,
        batch_size=size,
        num_devices=num_devices,
        gflop_per_step=step.gflop * factor,
        memory_bytes=sum(memory.values()),
        memory=memory,
        steps=steps,
        tflops=rate,
        hours=steps * step.gflop * factor / rate / 1000 / 3600,
        measured=MeasuredStep(
            windows=num_windows,
            device=device,
            seconds=step.seconds,
            gflop=step.gflop,
            loss=step.loss,
        ),
    )


def parameter_counts(model: JEPAWorldModel) -> dict[str, int]:
    """Count parameters by the groups of the reference's files.

    Encoders of actions and proprioception whose codes join the channels of the tokens count apart
    from the predictor; those that give tokens or a modulation are part of it.
    """
    layout = model.predictor.layout
    action = _count(model.predictor.action_encoder) if layout.action_feature_dim else 0
    proprio = 0 if model.proprio_encoder is None else _count(model.proprio_encoder)
    apart = proprio if layout.proprio_feature_dim else 0
    encoder = _count(model.encoder) if isinstance(model.encoder, nn.Module) else 0
    counts = {
        "encoder": encoder,
        "predictor": _count(model.predictor) - action + proprio - apart,
        "action_encoder": action,
        "proprio_encoder": apart,
    }
    return counts | {"total": sum(counts.values())}


def render_dry_run(cost: TrainingCost) -> str:
    """Say for people what a training costs, and what of it was measured."""
    measured, size = cost.measured, cost.batch_size
    windows = measured.windows
    rows = [(f"parameters, {k}", f"{v:,}", "") for k, v in cost.parameters.items()]
    rows += [(f"memory, {k}", f"{v / 2**30:.2f} GiB", "") for k, v in cost.memory.items()]
    rows += [
        (
            "memory per device",
            f"{cost.memory_bytes / 2**30:.2f} GiB",
            f"computed, {cost.num_devices} devices share the batch",
        ),
        (
            "operations a step",
            f"{cost.gflop_per_step:,.0f} GFLOP",
            f"counted on {windows} windows, times {size}/{windows}",
        ),
        ("steps", f"{cost.steps:,}", "of the whole training"),
        (
            "time",
            f"{cost.hours:,.1f} hours",
            f"computed, at {cost.tflops:.3g} TFLOP/s",
        ),
        (
            "one step",
            f"{measured.seconds:.2f} s",
            f"measured: {windows} windows on {measured.device}",
        ),
    ]
    title = f"{cost.recipe}: batch of {size} windows, float32"
    return "\n".join([title, *(f"  {a.replace('_', ' '):<28}{b:>20}  {c}" for a, b, c in rows)])


def _data_size(experiment: Experiment, data_root: Path) -> tuple[tuple[int, int], int]:
    """Return widths of actions and proprioception, and the number of training windows."""
    data = experiment.data
    path = store_path(experiment.env, data, data_root=data_root)
    if path.exists():
        store = open_store(path)
        proprio_dim = 0 if store.proprio is None else store.proprio.shape[1]
        return (store.actions.shape[1], proprio_dim), len(build_windows(experiment, store)[0])
    per_episode = data.episode_steps - data.num_steps * data.frameskip + 1
    num_windows = int(data.train_fraction * data.num_episodes) * per_episode
    return known_dims(experiment), num_windows


def known_dims(experiment: Experiment) -> tuple[int, int]:
    """Return widths of actions and proprioception: of the published data, or of the environment."""
    for name, dataset in DATASETS.items():
        if experiment.env.startswith(name):
            return len(dataset.action_mean), len(dataset.proprio_mean)
    if experiment.env == RECORDINGS:
        raise UserError("widths are unknown without recordings; name them by --data")
    env = build_env(experiment.env, image_size=experiment.data.image_size)
    return env.action_dim, env.proprio_dim


def _run_step(
    experiment: Experiment, num_windows: int, device: str, *, dims: tuple[int, int]
) -> StepCost:
    model = build_model(experiment, action_dim=dims[0], proprio_dim=dims[1])
    learner = Learner(model, experiment.loss).train().to(device)
    batch = synthetic_batch(experiment, num_windows, dims=dims)
    if experiment.data.feature_cache is not None:
        batch = replace(batch, obs=_encoded(batch.obs, model.encoder))
    batch = batch.to(torch.device(device))
    return measure_step(learner, build_optimizer(learner, experiment.optim), batch=batch)


def synthetic_batch(
    experiment: Experiment, num_windows: int, *, dims: tuple[int, int]
) -> Trajectory:
    """Return random windows of the experiment's shapes; `dims`: widths of action and proprio."""
    data = experiment.data
    generator = torch.Generator().manual_seed(experiment.seed)
    frames = (num_windows, data.num_steps + 1)
    side = (3, data.image_size, data.image_size)
    proprio = torch.randn(*frames, dims[1], generator=generator) if dims[1] else None
    action_dim = data.frameskip * dims[0]
    return Trajectory(
        obs=Observation(
            pixels=torch.randint(0, 256, frames + side, generator=generator, dtype=torch.uint8),
            proprio=proprio,
        ),
        actions=torch.randn(num_windows, data.num_steps, action_dim, generator=generator),
    )


def _encoded(obs: Observation | EncodedObservation, encoder: Encoder) -> EncodedObservation:
    """Return observations `[B, T+1]` with random tokens, as a feature cache gives them."""
    generator = torch.Generator().manual_seed(0)
    shape = (*obs.batch_shape, encoder.num_tokens, encoder.dim)
    tokens = torch.randn(shape, generator=generator).half()
    return EncodedObservation(tokens=tokens, proprio=obs.proprio)


def _fixed_memory(learner: Learner) -> dict[str, int]:
    """Return bytes that do not depend on the batch."""
    trained = 4 * sum(p.numel() for p in learner.parameters() if p.requires_grad)
    frozen = 4 * sum(p.numel() for p in learner.parameters() if not p.requires_grad)
    return {"frozen": frozen} | {name: copies * trained for name, copies in _COPIES.items()}


def _batch_memory(
    experiment: Experiment, model: JEPAWorldModel, step: StepCost, *, sizes: tuple[int, int]
) -> dict[str, int]:
    """Return bytes for `sizes[0]` windows from a step on `sizes[1]` ones."""
    data, factor = experiment.data, sizes[0] / sizes[1]
    frozen = isinstance(experiment.encoder, AnyFrozenConfig)
    frames = sizes[0] * (data.num_steps + 1)
    pixels = {"pixels": frames * 3 * data.image_size**2}
    tokens = {"tokens": frames * model.encoder.num_tokens * model.encoder.dim * 2}  # float16
    return {
        **(pixels if data.feature_cache is None else tokens),
        "activations": int(step.activations * factor),
        "frozen_layer": int(step.encoder_layer * factor) if frozen else 0,
    }


def _require_memory(needed: int, device: str) -> None:
    free = free_memory(torch.device(device))
    if free is not None and needed > free:
        raise UserError(
            f"one step needs more than {needed / 2**30:.1f} GiB for weights, gradients and moments "
            f"alone, {free / 2**30:.1f} GiB are free on {device}; use a machine with more memory"
        )


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
