"""Training steps of recipes at paper size: random frames, random weights of the frozen encoder."""

import traceback
from dataclasses import replace
from statistics import median
from time import perf_counter
from typing import Any, cast

import torch
from child import read_spec, say
from device import (
    PRECISIONS,
    autocast_where,
    forget_peak,
    free_cache,
    memory_mib,
    peak_gflop_per_second,
    tf32_where,
    wait,
)
from torch.nn.utils import clip_grad_norm_

from jepawm.build import build_model, with_encoder_weights
from jepawm.experiment import Experiment
from jepawm.recipes import RECIPES
from jepawm.training.cost import gflop_per_step
from jepawm.training.losses import Learner
from jepawm.training.optim import build_optimizer, set_schedule, step_generator
from jepawm.types import Observation, Trajectory


def main() -> None:
    """Say one row for each recipe and precision."""
    spec: dict[str, Any] = read_spec()
    device = torch.device(spec["device"])
    peaks = {name: peak_gflop_per_second(name, device) for name in PRECISIONS}
    for name in spec["recipes"]:
        try:
            measure_recipe(name, spec, peaks, device)
        except Exception:  # noqa: BLE001 - the next recipe is measured all the same
            say({"recipe": name, "error": traceback.format_exc()[-3000:]})
        free_cache(device)


def measure_recipe(
    name: str, spec: dict[str, Any], peaks: dict[str, float], device: torch.device
) -> None:
    """Measure steps in each precision, with the recipe's batch or the largest that fits."""
    experiment = scaled(name, tiny=spec["tiny"])
    model = build_model(experiment, action_dim=2, proprio_dim=4)
    learner = Learner(model, experiment.loss).train().to(device)
    whole = experiment.optim.batch_size
    sizes = [whole >> halvings for halvings in range(whole.bit_length())]
    start = sizes[0]
    for precision in ("float32", "bfloat16", "tf32"):
        for size in [one for one in sizes if one <= start]:
            row = {"recipe": name, "precision": precision, "batch": size, "recipe_batch": whole}
            figures = fitting(learner, experiment, size, precision, peaks, device, spec)
            if figures is None:
                free_cache(device)  # not before: an error in flight holds what it found no room for
                continue
            start = start if "error" in figures else size  # one batch for all precisions
            say({**row, **figures})
            break
        learner.zero_grad(set_to_none=True)
        free_cache(device)


def fitting(
    learner: Learner,
    experiment: Experiment,
    size: int,
    precision: str,
    peaks: dict[str, float],
    device: torch.device,
    spec: dict[str, Any],
) -> dict[str, object] | None:
    """Return the figures of steps with this batch, or the error; None where memory is too small."""
    learner.zero_grad(set_to_none=True)
    try:
        return steps(learner, experiment, size, precision, peaks, device, spec)
    except torch.OutOfMemoryError:
        return None
    except Exception:  # noqa: BLE001 - the next precision is measured all the same
        return {"error": traceback.format_exc()[-3000:]}


def scaled(name: str, *, tiny: bool) -> Experiment:
    """Return a recipe with random weights of its encoder; a tiny one is smaller everywhere."""
    experiment = with_encoder_weights(cast(Experiment, RECIPES.get(name)), "random")
    if not tiny:
        return experiment
    encoder = replace(cast(Any, experiment.encoder), family="dinov2", size="S", image_size=28)
    return replace(
        experiment,
        encoder=encoder,
        predictor=replace(experiment.predictor, depth=1, visual_dim=None),
        data=replace(experiment.data, image_size=28),
        optim=replace(experiment.optim, batch_size=2),
    )


def steps(
    learner: Learner,
    experiment: Experiment,
    size: int,
    precision: str,
    peaks: dict[str, float],
    device: torch.device,
    spec: dict[str, Any],
) -> dict[str, object]:
    """Take optimiser steps for some seconds; the first two warm up."""
    batch = random_batch(learner, experiment, size).to(device)
    optimizer = build_optimizer(learner, experiment.optim)
    forget_peak(device)
    seconds: list[float] = []
    finite = True
    while len(seconds) < 5 or (sum(seconds[2:]) < spec["seconds"] and len(seconds) < 22):
        wait(device)
        start = perf_counter()
        finite &= one_step(learner, experiment, optimizer, batch, len(seconds), precision)
        wait(device)
        seconds.append(perf_counter() - start)
    memory = memory_mib(device)
    with tf32_where(precision), autocast_where(precision, device):
        gflop = gflop_per_step(learner, batch)
    counted, peak = seconds[2:], peaks[precision]
    middle = median(counted)
    return {
        "ms_per_step": 1e3 * middle,
        "ms_from_to": [1e3 * min(counted), 1e3 * max(counted)],
        "steps_measured": len(counted),
        "samples_per_second": size / middle,
        "gflop": gflop,
        "peak_gflop_per_second": peak,
        "floor_ms": 1e3 * gflop / peak,
        "fraction_of_peak": gflop / peak / middle,
        "finite": finite,
        **memory,
    }


def one_step(
    learner: Learner,
    experiment: Experiment,
    optimizer: torch.optim.Optimizer,
    batch: Trajectory,
    number: int,
    precision: str,
) -> bool:
    """Take a step as the training loop does; returns whether loss and gradient were finite."""
    set_schedule(optimizer, experiment.optim, step=number)
    optimizer.zero_grad(set_to_none=True)
    with tf32_where(precision):
        with autocast_where(precision, batch.actions.device):
            loss = learner(batch, generator=step_generator(0, number))["loss"]
        loss.backward()
    norm = clip_grad_norm_(learner.parameters(), experiment.optim.clip_norm or float("inf"))
    finite = bool((loss.isfinite() & norm.isfinite()).item())  # the loop asks this of each
    optimizer.step()
    return finite


def random_batch(learner: Learner, experiment: Experiment, size: int) -> Trajectory:
    """Return windows of random frames, proprioception and actions."""
    generator = torch.Generator().manual_seed(0)
    data, model = experiment.data, learner.model
    shape = (size, data.num_steps + 1)
    frames = (*shape, 3, data.image_size, data.image_size)
    pixels = torch.randint(0, 256, frames, generator=generator, dtype=torch.uint8)
    proprio = None
    if experiment.proprio.mode != "none":
        proprio = torch.randn(*shape, 4, generator=generator)
    actions = torch.randn(size, data.num_steps, model.action_dim, generator=generator)
    return Trajectory(obs=Observation(pixels=pixels, proprio=proprio), actions=actions)


if __name__ == "__main__":
    main()
