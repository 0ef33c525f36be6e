"""`jepawm train R --dry-run`: what a training costs, from real steps on synthetic batches.

A step with random weights on few windows is counted. What is linear in the batch (operations,
activations) is multiplied; parameters are counted on a model without memory. Time is not linear: it
is measured on the whole batch, on warmed-up steps, or left out where the batch is too large here.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import cast

import torch
from jaxtyping import Int64
from torch import Tensor, nn

from jepawm.build import build_model, build_windows, with_encoder_weights
from jepawm.compute import free_memory
from jepawm.contracts import Encoder
from jepawm.data.windows import Windows
from jepawm.engine.process import tune_process
from jepawm.envs import RECORDINGS, build_env
from jepawm.errors import UserError
from jepawm.experiment import Experiment
from jepawm.hub.datasets import DATASETS
from jepawm.models.frozen.encoder import AnyFrozenConfig
from jepawm.models.layout import layout_only
from jepawm.models.world_model import JEPAWorldModel
from jepawm.runs.cost_figures import MeasuredStep, TimedSteps, TrainingCost
from jepawm.runs.datasets import open_seen, store_path
from jepawm.training.cost import (
    StepCost,
    measure_step,
    time_encoding,
    time_proposer_step,
    time_step,
)
from jepawm.training.losses import Learner
from jepawm.training.optim import build_optimizer
from jepawm.types import EncodedObservation, Observation, Trajectory

_LONGEST_STEP = 60.0
"""Seconds of a step that is timed, by those of one window; longer ones leave the hours out."""
_SPARE = 1.3
"""Free memory that the whole batch needs, over what was computed for it."""
_COPIES = {"weights": 1, "gradients": 1, "moments": 2}
"""What there is of each trained parameter."""


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
        tflops: sustained throughput of all devices together, for the hours; None: steps are timed.
    """
    if min(num_windows, num_devices, 1.0 if tflops is None else tflops) <= 0:
        raise UserError(
            f"windows {num_windows}, devices {num_devices}, tflops {tflops}: give more than 0"
        )
    if isinstance(experiment.encoder, AnyFrozenConfig):
        experiment = with_encoder_weights(experiment, "random")
    size = experiment.optim.batch_size
    num_windows = min(num_windows, size)
    (action_dim, proprio_dim), total_windows, num_frames = _data_size(experiment, data_root)
    with layout_only():
        model = build_model(experiment, action_dim=action_dim, proprio_dim=proprio_dim)
        learner = Learner(model, experiment.loss)
    averaged = experiment.optim.ema_decay is not None
    parameters, fixed = parameter_counts(model), _fixed_memory(learner, averaged=averaged)
    _require_memory(sum(fixed.values()), device)
    step = _run_step(experiment, num_windows, device, dims=(action_dim, proprio_dim))
    factor = size / num_windows
    share = -(-size // num_devices)
    memory = fixed | _batch_memory(experiment, model, step, sizes=(share, num_windows))
    steps = experiment.optim.for_windows(total_windows).num_steps
    timed: Sequence[TimedSteps] = ()
    if tflops is None and _fits(sum(memory.values()), device):
        timed = _time_steps(
            experiment,
            share,
            device,
            dims=(action_dim, proprio_dim),
            num_steps=steps,
            num_frames=num_frames,
        )
    hours, rate = _hours(timed, steps=steps, gflop=step.gflop * factor, tflops=tflops)
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
        hours=hours,
        timed_steps=timed,
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


def _data_size(experiment: Experiment, data_root: Path) -> tuple[tuple[int, int], int, int]:
    """Return widths of actions and proprioception, and numbers of training windows and frames."""
    data = experiment.data
    path = store_path(experiment.env, data, data_root=data_root)
    if path.exists():
        store = open_seen(path, data)
        proprio_dim = 0 if store.proprio is None else store.proprio.shape[1]
        num_windows = len(build_windows(experiment, store)[0])
        return (store.actions.shape[1], proprio_dim), num_windows, store.manifest.num_frames
    per_episode = data.episode_steps - data.num_steps * data.frameskip + 1
    num_windows = int(data.train_fraction * data.num_episodes) * per_episode
    num_frames = data.num_episodes * (data.episode_steps + 1)
    return known_dims(experiment), num_windows, num_frames


def known_dims(experiment: Experiment) -> tuple[int, int]:
    """Return widths of actions and proprioception: of the published data, or of the environment."""
    for name, dataset in DATASETS.items():
        if experiment.env.startswith(name):
            return len(dataset.action_mean), len(dataset.proprio_mean)
    if experiment.env == RECORDINGS:
        raise UserError("widths are unknown without recordings; name them by --data")
    env = build_env(experiment.env, image_size=experiment.data.image_size)
    return env.action_dim, env.proprio_dim


def _hours(
    timed: Sequence[TimedSteps], *, steps: int, gflop: float, tflops: float | None
) -> tuple[float | None, float | None]:
    """Return the hours of all steps, and the throughput in TFLOP/s; None where nobody knows."""
    if tflops is not None:
        return steps * gflop / tflops / 1000 / 3600, tflops
    if not timed:
        return None, None
    return sum(one.steps * one.seconds for one in timed) / 3600, gflop / timed[0].seconds / 1000


def _fits(num_bytes: int, device: str) -> bool:
    free = free_memory(torch.device(device))
    return free is None or _SPARE * num_bytes < free


def _time_steps(
    experiment: Experiment,
    num_windows: int,
    device: str,
    *,
    dims: tuple[int, int],
    num_steps: int,
    num_frames: int,
) -> Sequence[TimedSteps]:
    """Time the steps of each kind that a training has; empty if a step cannot be timed here."""
    tune_process()  # as training does
    learner, batch = _learner_and_batch(experiment, num_windows, device, dims=dims)
    optimizer = build_optimizer(learner, experiment.optim)
    single = _learner_and_batch(experiment, 1, device, dims=dims)[1]
    timer = partial(time_step, precision=experiment.compute.precision)
    if timer(learner, optimizer, batch=single) * num_windows > _LONGEST_STEP:
        return ()
    learning = experiment.optim.encoder_steps
    is_cached = isinstance(batch.obs, EncodedObservation)
    learning = num_steps if learning is None or is_cached else min(learning, num_steps)
    timed: list[TimedSteps] = []
    if learning:
        seconds = timer(learner, optimizer, batch=batch)
        timed.append(TimedSteps(kind="all weights", steps=learning, seconds=seconds))
    if learning < num_steps:
        per_frame, tokens = time_encoding(learner, batch.obs)
        cast(nn.Module, learner.model.encoder).requires_grad_(requires_grad=False)
        batch = replace(batch, obs=EncodedObservation(tokens=tokens, proprio=batch.obs.proprio))
        seconds = timer(learner, build_optimizer(learner, experiment.optim), batch=batch)
        rest = num_steps - learning
        timed.append(TimedSteps(kind="predictor alone", steps=rest, seconds=seconds))
        once = per_frame * num_frames
        timed.append(TimedSteps(kind="encoding all frames", steps=1, seconds=once))
    return [*timed, *_time_proposer(experiment, device, dims=dims)]


def _time_proposer(
    experiment: Experiment, device: str, *, dims: tuple[int, int]
) -> Sequence[TimedSteps]:
    """Time the steps that train a proposer at the end; empty where the recipe wants none."""
    config = experiment.proposals
    horizons = [one.horizon for one in experiment.protocols]
    if config.num_steps == 0 or not horizons:
        return ()
    model = build_model(experiment, action_dim=dims[0], proprio_dim=dims[1])
    model.eval().requires_grad_(requires_grad=False).to(device)
    length = config.proposer.window - 1 + max(horizons)
    longer = replace(experiment, data=replace(experiment.data, num_steps=length))
    seconds = time_proposer_step(
        model,
        _RandomWindows(longer, dims),
        objective=experiment.objective,
        config=config,
        horizon=max(horizons),
    )
    return (TimedSteps(kind="proposer", steps=config.num_steps, seconds=seconds),)


class _RandomWindows(Windows):
    """Windows of random numbers in the shapes of an experiment's."""

    def __init__(self, experiment: Experiment, dims: tuple[int, int]) -> None:
        self._experiment, self._dims = experiment, dims

    def __len__(self) -> int:
        return 4 * self._experiment.proposals.batch_size

    def batch(self, indices: Int64[Tensor, " B"]) -> Trajectory:
        return synthetic_batch(self._experiment, len(indices), dims=self._dims)


def _learner_and_batch(
    experiment: Experiment, num_windows: int, device: str, *, dims: tuple[int, int]
) -> tuple[Learner, Trajectory]:
    """Return a model with random weights, ready to be trained, and a batch of random windows."""
    model = build_model(experiment, action_dim=dims[0], proprio_dim=dims[1])
    learner = Learner(model, experiment.loss).train().to(device)
    batch = synthetic_batch(experiment, num_windows, dims=dims)
    if experiment.data.feature_cache is not None:
        batch = replace(batch, obs=_encoded(batch.obs, model.encoder))
    return learner, batch.to(torch.device(device))


def _run_step(
    experiment: Experiment, num_windows: int, device: str, *, dims: tuple[int, int]
) -> StepCost:
    learner, batch = _learner_and_batch(experiment, num_windows, device, dims=dims)
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


def _fixed_memory(learner: Learner, *, averaged: bool) -> dict[str, int]:
    """Return bytes that do not depend on the batch."""
    trained = 4 * sum(p.numel() for p in learner.parameters() if p.requires_grad)
    frozen = 4 * sum(p.numel() for p in learner.parameters() if not p.requires_grad)
    average = {"average": trained} if averaged else {}
    return {"frozen": frozen} | {n: copies * trained for n, copies in _COPIES.items()} | average


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
