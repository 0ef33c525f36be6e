"""Time the same planning job with each peer and with ours, in turns, in separate processes.

Set up once by benchmarks/peers/setup.sh; then, from the root of the repository:

    python benchmarks/peers/run.py
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from statistics import median, quantiles
from time import perf_counter

from job import JOBS

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PYTHON = {
    "jepawm": Path(sys.executable),
    "jepawm_bfloat16x3": Path(sys.executable),
    "stable_worldmodel": ROOT / ".peers/stable-worldmodel/bin/python",
    "torch_world": ROOT / ".peers/torch-world/bin/python",
}
"""Interpreter of each side; ours twice where the CPU has matrix tiles: each float32 product as it is,
and as three of bfloat16 (`engine.precision`)."""
OURS = ("jepawm", "jepawm_bfloat16x3")


class Worker:
    """One side in its process; it waits, without using a core, until it is asked for a plan."""

    def __init__(self, side: str, size: str, *, threads: int) -> None:
        """Start the process and wait until it is ready."""
        if not PYTHON[side].exists():
            raise SystemExit(f"no {PYTHON[side]}; run benchmarks/peers/setup.sh first")
        # A file, not a pipe: what a side prints is never read, and a full pipe would stop it.
        self._complaints = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115
        self._process = subprocess.Popen(
            [PYTHON[side].absolute(), HERE / "worker.py", side, size],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._complaints,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1"},
        )
        self.about = self._answer()

    def plan(self) -> tuple[float, float]:
        """Return the wall and the processor seconds of one plan."""
        assert self._process.stdin is not None
        self._process.stdin.write("plan\n")
        self._process.stdin.flush()
        answer = self._answer()
        return answer["seconds"], answer["cpu_seconds"]

    def close(self) -> None:
        """End the process."""
        self._process.communicate()
        self._complaints.close()

    def _answer(self) -> dict:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            self._complaints.seek(0)
            raise SystemExit(f"the worker ended:\n{self._complaints.read()}")
        return json.loads(line)


def main() -> None:
    """Measure each size, print a table and append a row to results/peers.jsonl."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", nargs="+", choices=JOBS, default=list(JOBS))
    parser.add_argument("--sides", nargs="+", choices=PYTHON, default=list(PYTHON))
    parser.add_argument("--rounds", type=int, default=5, help="after one that warms up")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--note", default="", help="what else ran on the machine")
    parser.add_argument("--out", type=Path, default=Path("results/peers.jsonl"))
    options = parser.parse_args()
    for size in options.sizes:
        row = measure(size, options.sides, rounds=options.rounds, threads=options.threads)
        show(row)
        row |= {
            "command": " ".join(
                ["python", "benchmarks/peers/run.py", *(Path(part).name for part in sys.argv[1:])]
            ),
            "note": options.note,
        }
        row |= {"date": datetime.now(UTC).date().isoformat(), "machine": machine()}
        with options.out.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


def measure(size: str, sides: Sequence[str], *, rounds: int, threads: int) -> dict:
    """Do the job of one size `rounds` times with each side; who begins changes each round.

    One round more, the first, warms up and is not counted.
    """
    began = perf_counter()
    workers = {side: Worker(side, size, threads=threads) for side in sides}
    plans: dict[str, list[tuple[float, float]]] = {side: [] for side in sides}
    for turn in range(rounds + 1):
        first = turn % len(sides)
        for side in [*sides[first:], *sides[:first]]:
            plans[side].append(workers[side].plan())
    for worker in workers.values():
        worker.close()
    results = {side: {**workers[side].about, **times(plans[side][1:])} for side in sides}
    peers = [results[side]["median_s"] for side in sides if side not in OURS]
    row = {"size": size, "job": asdict(JOBS[size]), "sides": results}
    for side in OURS:
        if peers and side in results:
            results[side]["times_fastest_peer"] = min(peers) / results[side]["median_s"]
    return row | {"minutes": (perf_counter() - began) / 60}


def times(plans: Sequence[tuple[float, float]]) -> dict:
    """Return all seconds of plans, their medians, and their lower and upper quartile."""
    wall, cpu = zip(*plans, strict=True)
    low, _, high = quantiles(wall, n=4, method="inclusive") if len(wall) > 1 else wall * 3
    return {
        "median_s": median(wall),
        "quartiles_s": [low, high],
        "median_cpu_s": median(cpu),
        "seconds": wall,
        "cpu_seconds": cpu,
    }


def show(row: dict) -> None:
    """Print the table of one size."""
    job = row["job"]
    budget = f"{job['num_samples']} samples x {job['num_iterations']} iterations"
    print(f"\n{row['size']}: {budget} x {job['horizon']} steps, window {job['window']}, float32")
    print(f"{'':36}{'median s':>10}{'quartiles':>16}{'of the CPU':>12}{'naive GFLOP':>13}", end="")
    print(f"{'GFLOP/s':>9}")
    for label, side in row["sides"].items():
        low, high = side["quartiles_s"]
        name = f"{label} {side['version']}, {side['threads']} threads"
        print(f"{name:36}{side['median_s']:10.2f}{f'{low:.2f} to {high:.2f}':>16}", end="")
        print(f"{side['median_cpu_s']:12.2f}{side['naive_gflop']:13.0f}", end="")
        print(f"{side['naive_gflop'] / side['median_s']:9.0f}")
    for label, side in row["sides"].items():
        if "times_fastest_peer" in side:
            print(f"{label} is {side['times_fastest_peer']:.2f} times as fast as the fastest peer")


def machine() -> str:
    """Return the processor and the number of cores."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{os.cpu_count()} x {names[0] if names else platform.processor()}, {platform.system()}"


if __name__ == "__main__":
    main()
