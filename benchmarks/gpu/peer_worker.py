"""Plans of one side of benchmarks/peers on this device, in any precision, when asked."""

import importlib
import sys
import traceback
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from child import read_spec, requests, say
from device import autocast_where, forget_peak, free_cache, memory_mib, tf32_where

import jepawm


def main() -> None:
    """Get ready and answer."""
    spec: dict[str, Any] = read_spec()
    device = torch.device(spec["device"])
    sys.path.append(str(Path(__file__).parents[1] / "peers"))
    torch.manual_seed(0)
    job = replace(importlib.import_module("job").JOBS[spec["job"]], **spec["budget"])
    module = importlib.import_module(f"side_{spec['side']}")
    with torch.device(device):
        side = module.SIDE(job)
    plan = planner(side, job, spec, device)
    start = perf_counter()
    errors = {}
    for precision in spec["precisions"]:
        try:
            for _ in range(3):
                plan(precision, num_iterations=1)
        except Exception:  # noqa: BLE001 - the other precisions are measured all the same
            errors[precision] = traceback.format_exc()[-3000:]
    free_cache(device)
    ours = spec["side"] == "jepawm"  # not installed, where the tree is used as it is
    installed = jepawm.__version__ if ours else version(module.PACKAGE)
    say(
        {
            "version": installed,
            "num_samples": job.num_samples,
            "warm_seconds": perf_counter() - start,
            "errors": errors,
        }
    )
    for request in requests():
        try:
            say(answer(request, plan, job.num_iterations, device))
        except Exception:  # noqa: BLE001 - told in the row
            say({"error": traceback.format_exc()[-3000:]})


def planner(
    side: Any,  # noqa: ANN401 - any of the sides
    job: Any,  # noqa: ANN401 - the job of benchmarks/peers
    spec: dict[str, Any],
    device: torch.device,
) -> Callable[..., None]:
    """Return what plans once; our side takes the precision by its engine, the others by torch."""

    def ours(precision: str, *, num_iterations: int) -> None:
        from jepawm.engine.config import EngineConfig

        side.engine = EngineConfig(
            precision=precision, compile=spec["compile"], max_memory_bytes=spec["max_memory_bytes"]
        )
        side.plan(num_samples=job.num_samples, num_iterations=num_iterations).sum().item()

    def theirs(precision: str, *, num_iterations: int) -> None:
        with tf32_where(precision), autocast_where(precision, device):
            plan = side.plan(num_samples=job.num_samples, num_iterations=num_iterations)
        plan.sum().item()  # waits for an asynchronous device

    return ours if spec["side"] == "jepawm" else theirs


def answer(
    request: dict[str, Any], plan: Callable[..., None], num_iterations: int, device: torch.device
) -> dict[str, object]:
    """Give memory back, or plan once after a first iteration that is not counted."""
    if request["do"] == "rest":
        free_cache(device)
        return {}
    plan(request["precision"], num_iterations=1)
    forget_peak(device)
    start = perf_counter()
    plan(request["precision"], num_iterations=num_iterations)
    seconds = perf_counter() - start
    return {"seconds": seconds, "num_iterations": num_iterations, **memory_mib(device)}


if __name__ == "__main__":
    main()
