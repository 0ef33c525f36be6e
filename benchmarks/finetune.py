"""Fine-tune on the second half of recordings against training from nothing, at equal steps.

    python benchmarks/finetune.py --data bimanual_lerobot --seeds 0 1 2 --steps 30 120 --runs runs/finetune

For each seed a model is trained on the first half; then, on the second half without its last two episodes, one
goes on from it (`--init-from`) and one begins from nothing, with the same seed and steps. Both are evaluated on
the last two. Appends a row for each training to `--results`; what is there already is not run again. The last
lines compare the two, paired by seed. Arguments that this script does not know go to `jepawm train robot`.
"""

import argparse
import json
from functools import partial
from pathlib import Path

import numpy as np
from leave_out import imported, train_and_evaluate

from jepawm.data.episodes import EpisodeStore
from jepawm.data.joining import copy_episodes
from jepawm.data.writer import EpisodeWriter
from jepawm.evaluation.metrics import mean_interval
from recipes import ROOT

BASE, TUNED, FRESH = "first half", "fine-tuned", "from nothing"


def main() -> None:
    """Run what is missing, one after the other, and sum up."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="recordings, or a store")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, nargs="+", default=[30, 120], help="of both")
    parser.add_argument("--clips", type=int, default=96, help="clips of each evaluation")
    parser.add_argument("--image-size", type=int, default=64)
    parser.add_argument("--runs", type=Path, required=True, help="folder for stores and runs")
    parser.add_argument("--results", type=Path, default=ROOT / "results" / "finetune.jsonl")
    options, passed_on = parser.parse_known_args()
    store = imported(options.data, options.runs / "all", image_size=options.image_size)
    middle = len(store) // 2
    halves = {
        name: half(store, options.runs / name, episodes=range(*ends))
        for name, ends in {"first": (0, middle), "second": (middle, len(store))}.items()
    }
    done = read(options.results, passed_on)
    train = partial(train_and_evaluate, clips=options.clips)
    for seed in options.seeds:
        base = options.runs / f"base-{seed}"
        if not (base / "offline.json").exists():
            train(halves["first"], base, seed=seed, extra=passed_on)
        for steps in options.steps:
            for kind in (TUNED, FRESH):
                if (kind, steps, seed) in done:
                    continue
                start = ["--init-from", f"{base}"] if kind == TUNED else []
                more = [*passed_on, "--optim.num-steps", f"{steps}", *start]
                folder = options.runs / f"{kind.replace(' ', '-')}-{steps}-{seed}"
                row = train(halves["second"], folder, seed=seed, extra=more)
                row |= {"kind": kind, "steps": steps, "options": passed_on}
                options.results.parent.mkdir(parents=True, exist_ok=True)
                with options.results.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(row) + "\n")
                done[kind, steps, seed] = row
                print(f"{kind}, {steps} steps, seed {seed}: {figures(row)}", flush=True)
    summarise(done, options.steps)


def half(store: EpisodeStore, place: Path, *, episodes: range) -> Path:
    """Write some episodes of a store into one of their own."""
    if place.exists():
        return place
    manifest = store.manifest
    with EpisodeWriter(
        place,
        environment=manifest.environment,
        image_size=manifest.image_size,
        settings={"part_of": store.sha256, "fit": manifest.settings.get("fit")},
        pixels="raw",
        fps=manifest.fps,
        source=manifest.source,
        cameras=store.cameras,
    ) as writer:
        copy_episodes(store, writer, episodes=episodes)
    return place


def read(results: Path, extra: list[str]) -> dict[tuple[str, int, int], dict]:
    """Return the rows that are there already for the same options."""
    if not results.exists():
        return {}
    rows = [json.loads(line) for line in results.read_text(encoding="utf-8").splitlines()]
    same = [row for row in rows if row["options"] == extra]
    return {(row["kind"], row["steps"], row["training_seed"]): row for row in same}


def figures(row: dict) -> str:
    """Return the errors of a row in words."""
    ratios = " ".join(f"{step['ratio']:.2f}" for step in row["prediction"]["tokens"])
    return f"error / copy {ratios}; plans L1 {row['actions']['model']['l1']:.3f}"


def summarise(done: dict[tuple[str, int, int], dict], steps: list[int]) -> None:
    """Print fine-tuned less from nothing, paired by seed, with the interval over seeds."""
    measures = {
        "error / copy, k = 1": lambda row: row["prediction"]["tokens"][0]["ratio"],
        "error / copy, last k": lambda row: row["prediction"]["tokens"][-1]["ratio"],
        "plans, L1": lambda row: row["actions"]["model"]["l1"],
    }
    for count in steps:
        seeds = [seed for kind, at, seed in done if kind == TUNED and at == count]
        for name, value in measures.items():
            apart = [value(done[TUNED, count, s]) - value(done[FRESH, count, s]) for s in seeds]
            interval = mean_interval(np.array(apart)) if len(apart) > 1 else None
            shown = "" if interval is None else "  [{:+.4f}, {:+.4f}]".format(*interval.ci95)
            print(f"{count} steps, {name:<21} {np.mean(apart):+.4f}{shown}")


if __name__ == "__main__":
    main()
