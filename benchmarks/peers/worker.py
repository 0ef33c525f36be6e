"""One side in a process of its own: build, count, then one plan for each line on standard input.

Started by run.py; prints one JSON line when ready and one for each plan.
"""

import argparse
import importlib
import json
import sys
from contextlib import redirect_stdout
from importlib.metadata import version
from time import perf_counter, process_time

import torch
from job import JOBS, Job, Side
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode


def main() -> None:
    """Answer each line with the seconds of a plan, of the clock and of the processor."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("side")
    parser.add_argument("size", choices=JOBS)
    options = parser.parse_args()
    torch.manual_seed(0)
    torch.set_flush_denormal(True)  # our verbs do so, so all do
    module = importlib.import_module(f"side_{options.side}")
    job = JOBS[options.size]
    side: Side = module.SIDE(job)
    with redirect_stdout(sys.stderr):  # a library that prints does not disturb the answers
        side.plan(num_samples=2, num_iterations=1)
        counted = naive_gflop(side, job)
    say(
        package=module.PACKAGE,
        version=version(module.PACKAGE),
        torch=torch.__version__,
        threads=torch.get_num_threads(),
        naive_gflop=counted,
    )
    for _ in sys.stdin:
        with redirect_stdout(sys.stderr):
            start, cpu_start = perf_counter(), process_time()
            plan = side.plan(num_samples=job.num_samples, num_iterations=job.num_iterations)
            seconds, cpu_seconds = perf_counter() - start, process_time() - cpu_start
        if plan.shape != (1, job.horizon, job.action_dim) or plan.dtype != torch.float32:
            raise SystemExit(f"{options.side} returned {plan.dtype} {tuple(plan.shape)}")
        say(seconds=seconds, cpu_seconds=cpu_seconds)


def naive_gflop(side: Side, job: Job) -> float:
    """Count the matrix products of the job without anything that saves operations.

    Two candidates are counted; attention as two products and without oneDNN's own kernels, which
    the counter does not know, so that all sides count alike.
    """
    with torch.backends.mkldnn.flags(enabled=False), sdpa_kernel(SDPBackend.MATH):
        with FlopCounterMode(display=False) as counter:
            side.naive(2)
    return counter.get_total_flops() / 2 * job.num_samples * job.num_iterations / 1e9


def say(**answer: str | float) -> None:
    """Print one JSON line."""
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
