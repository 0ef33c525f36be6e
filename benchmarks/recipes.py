"""Train a recipe from nothing with several seeds, evaluate it, append rows to results/<recipe>.jsonl.

    python benchmarks/recipes.py wall --seeds 0 1 2 3 4 --protocols paper mpc --runs runs/bench
    python benchmarks/recipes.py pointmaze --seeds 0 1 2 --runs runs/bench

Each row holds the commands that made it, the wall time of collecting and training, and all of
results.json. Arguments that this script does not know go to `jepawm train`.
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


def main() -> None:
    """Run all seeds, one after the other."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipe", help="name of the recipe")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--protocols", nargs="+", default=["paper"])
    parser.add_argument("--episodes", type=int, default=96, help="tasks of each evaluation")
    parser.add_argument("--task-seed", type=int, default=0, help="list of test tasks")
    parser.add_argument("--runs", type=Path, required=True, help="new folder for the runs")
    parser.add_argument("--results", type=Path, help="results/<recipe>.jsonl if not given")
    options, passed_on = parser.parse_known_args()
    trained = {}
    for seed in options.seeds:
        # A data root of its own: collecting is part of the time.
        folders = ["--out", f"{run_folder(options, seed)}", "--data-root", data_root(options, seed)]
        train = shlex.join(["train", options.recipe, "--seed", f"{seed}", *folders, *passed_on])
        trained[seed] = train, jepawm(train)
        measure(options, seed, options.protocols[0], trained[seed])
    for protocol in options.protocols[1:]:  # last, since replanning takes longest
        for seed in options.seeds:
            measure(options, seed, protocol, trained[seed])


def measure(options: argparse.Namespace, seed: int, protocol: str, trained: tuple) -> None:
    """Evaluate the run of one seed and append its row."""
    train, figures = trained
    run = run_folder(options, seed)
    evaluate = (
        f"eval {run} --episodes {options.episodes} --protocol {protocol} "
        f"--seed {options.task_seed} --out {run}-{protocol} "
        f"--data-root {data_root(options, seed)}"
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
    path = options.results or ROOT / "results" / f"{options.recipe}.jsonl"
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
    success, wall = results["success"], figures["wall_seconds"]
    print(f"seed {seed}  {protocol}  success {success:.3f}  training {wall:.0f} s", flush=True)


def run_folder(options: argparse.Namespace, seed: int) -> Path:
    """Return the folder of one seed's run."""
    return options.runs / f"{options.recipe}-{seed}"


def data_root(options: argparse.Namespace, seed: int) -> str:
    """Return the folder of one seed's data."""
    return f"{options.runs}/data-{seed}"


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
