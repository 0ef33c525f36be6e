"""Time a training step of a JEPA-WM with the encoder in the loop and from a feature cache.

    OMP_NUM_THREADS=1 python benchmarks/feature_cache.py

A recipe at paper size (ViT-S, 224 pixels, random weights) on a few Wall episodes that are collected
into a temporary folder. The two kinds of step alternate on the same learner; reading the batch
from the disk is part of both. Operations are counted on the same steps. Time
of the CPU (of this process, all threads) is told beside wall time, for machines that do other work.
"""

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path
from statistics import median
from time import perf_counter, process_time

import torch

from jepawm.build import build_model, build_windows, with_encoder_weights
from jepawm.data.windows import Windows
from jepawm.experiment import Experiment
from jepawm.recipes import RECIPES
from jepawm.runs.datasets import find_or_collect, make_features
from jepawm.training.cost import gflop_per_step
from jepawm.training.losses import Learner
from jepawm.training.optim import build_optimizer, step_generator


def main() -> None:
    """Print operations and median seconds of both kinds of step, their ratio, and bytes per frame."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipe", default="jepa_wm_wall")
    parser.add_argument("--windows", type=int, default=2)
    parser.add_argument("--steps", type=int, default=7)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.set_flush_denormal(True)
    recipe = RECIPES.get(options.recipe)
    assert isinstance(recipe, Experiment)
    experiment = with_encoder_weights(recipe, "random")
    data = replace(experiment.data, num_episodes=2, episode_steps=20)
    experiment = replace(experiment, data=data)
    device = torch.device(options.device)
    with tempfile.TemporaryDirectory() as folder:
        store = find_or_collect(
            experiment.env, experiment.data, data_root=Path(folder), processes=1
        )
        began = perf_counter()
        features = make_features(store, experiment.encoder, out=None, device=device)
        seconds = perf_counter() - began
        frame = features.manifest.bytes_per_frame
        print(f"cache: {store.manifest.num_frames} frames x {frame:,} bytes, {seconds:.0f} s")
        model = build_model(experiment, action_dim=2, proprio_dim=2)
        learner = Learner(model, experiment.loss).train().to(device)
        sources = {
            "encoder in the loop": build_windows(experiment, store)[0],
            "from the cache": build_windows(experiment, store, features=features)[0],
        }
        compare(learner, experiment, sources, num_windows=options.windows, steps=options.steps)


def compare(
    learner: Learner,
    experiment: Experiment,
    sources: dict[str, Windows],
    *,
    num_windows: int,
    steps: int,
) -> None:
    """Alternate steps from each source of windows and print what they cost."""
    optimizer = build_optimizer(learner, experiment.optim)
    device = next(learner.parameters()).device

    def step(windows: Windows, number: int) -> tuple[float, float]:
        start, cpu_start = perf_counter(), process_time()
        index = torch.arange(num_windows) * len(windows) // num_windows
        batch = windows.batch(index).to(device)
        loss = learner(batch, generator=step_generator(0, number))["loss"]
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        loss.item()  # waits for an asynchronous device
        return perf_counter() - start, process_time() - cpu_start

    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in sources}
    for number in range(steps + 1):
        for name, windows in sources.items():
            seconds[name].append(step(windows, number))
    gflop = {
        name: gflop_per_step(learner, windows.batch(torch.arange(num_windows)).to(device))
        for name, windows in sources.items()
    }
    medians: dict[str, list[float]] = {}
    for name, pairs in seconds.items():
        wall, cpu = zip(*pairs[1:], strict=True)  # the first warms up
        medians[name] = [median(wall), median(cpu)]
        print(
            f"{name:<20} {gflop[name]:8.1f} GFLOP  {median(wall):7.2f} s ({min(wall):.2f} to "
            f"{max(wall):.2f}), of the CPU {median(cpu):.2f} s ({min(cpu):.2f} to {max(cpu):.2f})"
        )
    loop, cached = sources
    wall, cpu = (one / other for one, other in zip(medians[loop], medians[cached], strict=True))
    print(
        f"operations {gflop[loop] / gflop[cached]:.2f} times fewer, step {wall:.2f} times as fast, "
        f"{cpu:.2f} times less time of the CPU"
    )


if __name__ == "__main__":
    main()
