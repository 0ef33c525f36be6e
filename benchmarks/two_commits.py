"""Time every kind of job with the code of two commits, in turns, and say where the second is slower.

    git worktree add ../before COMMIT
    python benchmarks/two_commits.py --before ../before --rounds 5

Each job runs in a process of its own, with default settings, once for each commit in every round;
the side that goes first changes from round to round. Medians of the rounds are compared, and a row
for each job goes to results/two_commits.jsonl. Each commit runs its own copy of the benchmark
scripts.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from statistics import median, quantiles
from time import perf_counter

from recipes import machine

ROOT = Path(__file__).parents[1]
SHOWN = 1.03
"""Ratio of medians above which a job is marked."""

Reader = Callable[[str, float], float]
"""Seconds of a job, from what it printed and from its wall time."""


def _key(name: str) -> Reader:
    return lambda printed, _wall: float(_last_object(printed)[name])  # pyright: ignore[reportArgumentType]


def _last_object(printed: str) -> dict[str, object]:
    return json.loads(printed[printed.index("{\n") if "{\n" in printed else printed.index("{") :])


def _milliseconds(pattern: str) -> Reader:
    return lambda printed, _wall: sum(map(float, re.findall(pattern, printed))) / 1e3


def _seconds(pattern: str) -> Reader:
    return lambda printed, _wall: sum(map(float, re.findall(pattern, printed)))


def _wall(_printed: str, wall: float) -> float:
    return wall


JOBS: dict[str, tuple[str, Reader]] = {
    "plan lewm": (
        "-m jepawm bench planning --size lewm --iterations 5 --repeats 5 --json",
        _key("seconds_per_plan"),
    ),
    "plan dino_wm": (
        "-m jepawm bench planning --size dino_wm --samples 16 --repeats 3 --json",
        _key("seconds_per_plan"),
    ),
    "plan jepa_wm": (
        "-m jepawm bench planning --size jepa_wm --samples 16 --repeats 3 --json",
        _key("seconds_per_plan"),
    ),
    "eval wall, cem": (
        "-m jepawm eval wall --episodes 32 --out {out} --overwrite --json",
        _key("seconds_per_plan"),
    ),
    "eval wall, fast": (
        "-m jepawm eval wall --preset fast --episodes 64 --out {out} --overwrite --json",
        _key("seconds_per_plan"),
    ),
    "training step": (
        "benchmarks/training_step.py --data-root {data}",
        _milliseconds(r"^step (\d+) ms"),
    ),
    "attention": ("benchmarks/attention.py --repeats 11", _milliseconds(r'"ms": ([\d.]+)')),
    "feature cache": (
        "benchmarks/feature_cache.py --windows 1 --steps 3",
        _seconds(r"of the CPU ([\d.]+) s"),
    ),
    "reading": (
        "benchmarks/reading.py --folder {data}/reading --rounds 20 --results {out}/reading.jsonl",
        _wall,
    ),
    "start": ("-m jepawm list", _wall),
}
"""Arguments of the interpreter and how the seconds are read, by job."""


def main() -> None:
    """Run all jobs, print medians and their ratio, append a row for each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--before", type=Path, required=True, help="work tree of the other commit")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--jobs", nargs="+", default=list(JOBS), choices=list(JOBS))
    parser.add_argument("--results", type=Path, default=ROOT / "results" / "two_commits.jsonl")
    options = parser.parse_args()
    trees = {"before": options.before.resolve(), "after": ROOT.resolve()}
    command = f"python benchmarks/two_commits.py --before BEFORE --rounds {options.rounds}"
    with tempfile.TemporaryDirectory() as folder:
        for name in options.jobs:
            row = {
                "command": f"{command} --jobs '{name}'",
                "date": datetime.now(tz=UTC).date().isoformat(),
                "machine": machine(),
                "commits": {side: commit(tree) for side, tree in trees.items()},
                "job": name,
                **compare(name, trees, folder=Path(folder), rounds=options.rounds),
            }
            with options.results.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")


def compare(name: str, trees: dict[str, Path], *, folder: Path, rounds: int) -> dict[str, object]:
    """Time one job on both sides; prints and returns medians, quartiles and their ratio."""
    seconds: dict[str, list[float]] = {side: [] for side in trees}
    if "{data}" in JOBS[name][0]:  # makes the data; not counted
        for side, tree in trees.items():
            run(name, tree, folder=folder / side)
    for number in range(rounds):
        for side in sorted(trees, reverse=bool(number % 2)):
            seconds[side].append(run(name, trees[side], folder=folder / side))
    found: dict[str, object] = {
        side: {"median": median(times), "quartiles": quantiles(times, n=4)}
        for side, times in seconds.items()
    }
    ratio = median(seconds["after"]) / median(seconds["before"])
    mark = "  slower" if ratio > SHOWN else ""
    print(f"{name:18} {median(seconds['before']):9.4f} s -> {median(seconds['after']):9.4f} s"
          f"  {ratio:.3f}{mark}", flush=True)  # fmt: skip
    return {**found, "ratio": ratio}


def run(name: str, tree: Path, *, folder: Path) -> float:
    """Run a job once with the code of a tree; returns its seconds."""
    arguments, read = JOBS[name]
    out, data = folder / "out", folder / "data"
    out.mkdir(parents=True, exist_ok=True)
    began = perf_counter()
    done = subprocess.run(
        [sys.executable, *arguments.format(out=out, data=data).split()],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": str(tree / "src"), "GOMP_SPINCOUNT": "10000"},
        capture_output=True,
        text=True,
        check=False,
    )
    wall = perf_counter() - began
    if done.returncode != 0:
        raise SystemExit(f"{name} failed in {tree}:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    return read(done.stdout, wall)


def commit(tree: Path) -> str:
    """Return the commit that a tree is at."""
    command = ["git", "-C", str(tree), "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    main()
