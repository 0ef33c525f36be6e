"""Train Wall from nothing with several seeds, evaluate both protocols, append rows to results/wall.jsonl.

    python benchmarks/wall.py --seeds 0 1 2 3 4 --runs runs/bench

Each row holds the commands that made it, the wall time of training and all of results.json.
"""

import argparse
import json
import platform
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROTOCOLS = ("paper", "mpc")
NUM_TASKS = 96


def main() -> None:
    """Run all seeds, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--runs", type=Path, required=True, help="new folder for the runs")
    parser.add_argument("--results", type=Path, default=ROOT / "results" / "wall.jsonl")
    options = parser.parse_args()
    trained = {}
    for seed in options.seeds:
        # A data root of its own: collecting is part of the time.
        train = (
            f"train wall --seed {seed} --out {options.runs}/wall-{seed} "
            f"--data-root {options.runs}/data-{seed}"
        )
        trained[seed] = train, jepawm(train)
        measure(options, seed, "paper", trained[seed])
    for seed in options.seeds:  # last, since replanning takes longest
        measure(options, seed, "mpc", trained[seed])


def measure(options: argparse.Namespace, seed: int, protocol: str, trained: tuple) -> None:
    """Evaluate the run of one seed and append its row."""
    train, figures = trained
    evaluate = (
        f"eval {options.runs}/wall-{seed} --episodes {NUM_TASKS} --protocol {protocol} --seed 0 "
        f"--out {options.runs}/wall-{seed}-{protocol}"
    )
    results = jepawm(evaluate)
    results.pop("written")
    row = {
        "commands": [f"jepawm {public(train)}", f"jepawm {public(evaluate)}"],
        "date": datetime.now(tz=UTC).date().isoformat(),
        "machine": machine(),
        "training_seed": seed,
        "training": {k: v for k, v in figures.items() if k != "run"},
        **results,
    }
    with options.results.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
    success, wall = results["success"], figures["wall_seconds"]
    print(f"seed {seed}  {protocol}  success {success:.3f}  training {wall:.0f} s", flush=True)


def jepawm(command: str) -> dict[str, object]:
    """Run one command line and return its result."""
    arguments = [sys.executable, "-m", "jepawm", *shlex.split(command), "--json"]
    done = subprocess.run(arguments, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def public(command: str) -> str:
    """Return a command without the folders of this machine."""
    return " ".join(part.rsplit("/", 1)[-1] for part in command.split())


def machine() -> str:
    """Say what ran it."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{len(names)} x {names[0]}, {platform.system()}"


if __name__ == "__main__":
    main()
