"""Time one training step of the recipe `wall` and show where the time goes.

    GOMP_SPINCOUNT=10000 python benchmarks/training_step.py --data-root runs/bench/data-0

Collects the data set first where it is missing. Without GOMP_SPINCOUNT the command shows what
waiting threads cost (see README.md beside this file).
"""

import argparse
from pathlib import Path
from statistics import median
from time import perf_counter

import torch
from torch.profiler import ProfilerActivity, profile

from jepawm.build import build_model, build_windows
from jepawm.compute import matmul_peak
from jepawm.recipes.wall import WALL
from jepawm.runs.datasets import find_or_collect
from jepawm.training.cost import gflop_per_step
from jepawm.training.losses import Learner
from jepawm.training.optim import batch_indices, build_optimizer, step_generator


def main() -> None:
    """Print the median time of a step, its floor, and the costliest operators."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-root", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=30)
    options = parser.parse_args()
    torch.set_flush_denormal(True)
    store = find_or_collect("wall", WALL.data, data_root=options.data_root)
    windows, _ = build_windows(WALL, store)
    learner = Learner(build_model(WALL, action_dim=2, proprio_dim=2), WALL.loss)
    optimizer = build_optimizer(learner, WALL.optim)

    def step(index: int) -> float:
        start = perf_counter()
        size = WALL.optim.batch_size
        chosen = batch_indices(num_windows=len(windows), batch_size=size, seed=0, step=index)
        loss = learner(windows.batch(chosen), generator=step_generator(0, index))["loss"]
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        return perf_counter() - start

    seconds = sorted([step(index) for index in range(options.steps)][5:])
    gflop = gflop_per_step(learner, windows.batch(torch.arange(WALL.optim.batch_size)))
    peak = matmul_peak()
    middle, spread = median(seconds), (seconds[0], seconds[-1])
    print(f"step {1e3 * middle:.0f} ms (from {1e3 * spread[0]:.0f} to {1e3 * spread[1]:.0f})")
    print(f"{gflop:.1f} GFLOP at {peak:.0f} GFLOP/s: floor {1e3 * gflop / peak:.0f} ms, ")
    print(f"fraction of peak {gflop / peak / middle:.2f}, {torch.get_num_threads()} threads")
    with profile(activities=[ProfilerActivity.CPU]) as recorded:
        for index in range(3):
            step(index)
    print(recorded.key_averages().table(sort_by="self_cpu_time_total", row_limit=12))


if __name__ == "__main__":
    main()
