"""`jepawm bench planning --growth`: how the time of a plan grows with its parts."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import median
from time import perf_counter

import torch

from jepawm.engine.config import EngineConfig
from jepawm.runs.bench import PlanningBench
from jepawm.runs.bench_sizes import PlanJob, Size


def bench_growth(
    size: Size, job: PlanJob, *, engine: EngineConfig, device: str, repeats: int
) -> dict[str, object]:
    """Measure one iteration while samples, horizon, tokens and tasks each grow tenfold.

    Samples start from the job's number; the other parts start from 1, tokens from 1 or 16.

    Returns per axis the values, the seconds and the exponent of the power law fitted to them.
    """
    axes: dict[str, list[tuple[int, Size, PlanJob]]] = {
        "samples": [
            (n, size, replace(job, num_samples=n))
            for n in (job.num_samples * factor for factor in (1, 2, 5, 10))
        ],
        "horizon": [(n, size, replace(job, horizon=n)) for n in (1, 2, 5, 10)],
        "tokens": [
            (n * n, replace(size, side=n), job)
            for n in ((1, 2, 3, 4) if size.side == 1 else (4, 7, 10, 13))
        ],
        "tasks": [(n, size, replace(job, num_tasks=n)) for n in (1, 2, 5, 10)],
    }
    result: dict[str, object] = {}
    for name, cases in axes.items():
        benches = [
            PlanningBench(one, task, engine=engine, device=torch.device(device))
            for _, one, task in cases
        ]
        times: list[list[float]] = [[] for _ in cases]
        for _ in range(repeats + 1):  # in turns, so that a slow minute slows all
            for index, bench in enumerate(benches):
                start = perf_counter()
                bench.plan(num_iterations=1)
                times[index].append(perf_counter() - start)
        values = [float(value) for value, _, _ in cases]
        seconds = [median(one[1:]) for one in times]
        result[name] = {
            "values": values,
            "seconds": seconds,
            "exponent": fitted_exponent(values, seconds),
        }
    return result


def fitted_exponent(values: Sequence[float], seconds: Sequence[float]) -> float:
    """Return the exponent of the power law through points, by least squares of the logarithms."""
    x, y = [math.log(value) for value in values], [math.log(second) for second in seconds]
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    covariance = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True))
    return covariance / sum((a - mean_x) ** 2 for a in x)


def render_growth(result: Mapping[str, object]) -> str:
    """Render one line per axis."""
    lines = []
    for name, axis in result.items():
        assert isinstance(axis, dict)
        pairs = zip(axis["values"], axis["seconds"], strict=True)
        points = ", ".join(f"{value:.0f}: {1e3 * second:.1f} ms" for value, second in pairs)
        lines.append(f"{name:<8} exponent {axis['exponent']:.2f}   {points}")
    return "\n".join(lines)
