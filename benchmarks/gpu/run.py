"""Run all parts, each for itself, and append a row for each thing measured; started by ../gpu.sh.

Everything that compiles starts at once, each in a process of its own, while checks and tests run.
Then the processes plan one at a time, in turns, and nothing else runs.
"""

import argparse
import json
import os
import subprocess
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import torch
from device import describe
from peer_part import measure_peers, start_peers
from plan_part import measure_plans, start_plans
from pytest_part import run_tests
from rows import Run
from scale import FULL, TINY

ROOT = Path(__file__).parents[2]


def main() -> None:
    """Measure and leave with 1 if anything failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tiny", action="store_true", help="on the CPU, tiny sizes")
    parser.add_argument("--device", default=None, help="cuda unless --tiny")
    parser.add_argument("--results", type=Path, default=ROOT / "results" / "gpu.jsonl")
    parser.add_argument("--logs", type=Path, help="folder for what the processes print")
    options = parser.parse_args()
    device = options.device or ("cpu" if options.tiny else "cuda")
    with tempfile.TemporaryDirectory() as folder:
        logs = options.logs or Path(folder)
        logs.mkdir(parents=True, exist_ok=True)
        run = Run(
            scale=TINY if options.tiny else FULL,
            device=device,
            tiny=options.tiny,
            results=options.results,
            logs=logs,
            common={
                "command": "benchmarks/gpu.sh" + (" --tiny" if options.tiny else ""),
                "date": datetime.now(tz=UTC).date().isoformat(),
                "commit": commit(),
                **describe(torch.device(device)),
            },
        )
        print(json.dumps(run.common), flush=True)
        measure(run)
    if run.num_failed:
        raise SystemExit(f"{run.num_failed} rows FAILED")


def measure(run: Run) -> None:
    """Start everything, check, then measure part by part."""
    plans = {one.size: start_plans(run, one) for one in run.scale.plans}
    peers = {one.job: start_peers(run, one) for one in run.scale.peers}
    started = [child for group in (*plans.values(), *peers.values()) for child in group.values()]
    run.reserved = run.scale.training_seconds
    ready = run.until(run.scale.ready_seconds)
    try:
        run.guard("tests", lambda: start_checks(run, until=ready))
        first, *others = run.scale.plans
        run.guard("plan", lambda: measure_plans(run, first, plans[first.size], ready))
        for one in run.scale.peers:
            run.guard("peer", lambda one=one: measure_peers(run, one, peers[one.job], ready))
        for one in others:
            run.guard("plan", lambda one=one: measure_plans(run, one, plans[one.size], ready))
    finally:
        for child in started:
            child.close()
    run.reserved = 0.0
    run.guard("training", lambda: measure_training(run))


def start_checks(run: Run, *, until: float) -> None:
    """Run checks and tests beside each other."""
    sizes = [one.size for one in run.scale.plans]
    first = run.scale.plans[0]
    checks = run.child(
        "checks.py",
        "checks",
        sizes=sizes,
        modes=run.scale.modes,
        num_samples=first.num_samples,
        horizon=first.horizon,
    )
    tests = run_tests(run.scale.tests, root=ROOT, logs=run.logs)
    try:
        for _ in range(1 + len(run.scale.modes) + len(sizes)):
            run.row("check", **checks.answer(until=until))
    finally:
        checks.close()
        run.row("tests", **tests(min(until, run.start + run.scale.tests_seconds)))


def measure_training(run: Run) -> None:
    """Measure training steps, in a process that has the device for itself."""
    until = run.until(run.scale.training_seconds)
    child = run.child(
        "training.py", "training", recipes=run.scale.recipes, seconds=run.scale.step_seconds
    )
    try:
        while (line := child.line(until=until)) is not None:
            run.row("training", **json.loads(line))
    finally:
        child.close()


def commit() -> str:
    """Return the commit that is measured."""
    if "COMMIT" in os.environ:
        return os.environ["COMMIT"]
    command = ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


if __name__ == "__main__":
    main()
