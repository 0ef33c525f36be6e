"""Train `robot` on recordings with several seeds, evaluate offline, append rows to results/robot.jsonl.

    python benchmarks/robot.py --data bimanual_lerobot --seeds 0 1 2 --runs runs/robot

The import is part of the first seed's time. Arguments that this script does not know go to
`jepawm train`.
"""

import argparse
import json
import shlex
from datetime import UTC, datetime
from pathlib import Path

from recipes import ROOT, jepawm, machine, public


def main() -> None:
    """Run all seeds, one after the other."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="recordings")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--clips", type=int, default=96, help="clips of each evaluation")
    parser.add_argument("--split", default="test", help="test: the held-out episodes; or val")
    parser.add_argument("--runs", type=Path, required=True, help="new folder for the runs")
    parser.add_argument("--results", type=Path, default=ROOT / "results" / "robot.jsonl")
    options, passed_on = parser.parse_known_args()
    root = ["--data-root", f"{options.runs}/data"]
    for seed in options.seeds:
        run = options.runs / f"robot-{seed}"
        named = ["--data", f"{options.data}", "--seed", f"{seed}", "--out", f"{run}"]
        train = shlex.join(["train", "robot", *named, *root, *passed_on])
        chosen = ["--episodes", f"{options.clips}", "--split", options.split]
        evaluate = shlex.join(["eval", f"{run}", *chosen, *root])
        figures, results = jepawm(train), jepawm(evaluate)
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
        summarise(seed, results, seconds=figures["wall_seconds"])


def summarise(seed: int, results: dict, *, seconds: float) -> None:
    """Print the two questions of an evaluation and their answers."""
    ratios = [f"{step['ratio']:.2f}" for step in results["prediction"]["tokens"]]
    errors = {name: round(row["l1"], 3) for name, row in results["actions"].items()}
    print(f"seed {seed}  {seconds:.0f} s  error / copy {' '.join(ratios)}  actions L1 {errors}")


if __name__ == "__main__":
    main()
