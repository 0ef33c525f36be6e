"""Train on recordings with each group of episodes left out in turn, and evaluate on what was left out.

    python benchmarks/leave_out.py --data bimanual_lerobot --leave 2 --seeds 0 1 2 --runs runs/folds

Appends a row for each fold and seed to `--results`; what is there already is not run again. The last lines
compare the plans with every row: one difference for each fold (the mean of its seeds), and the 95 % interval
of a normal mean over folds, of which no two share a test episode. Arguments that this script does not know
go to `jepawm train robot`.
"""

import argparse
import json
import shlex
import shutil
from collections import defaultdict
from pathlib import Path

import numpy as np

from jepawm.data.episodes import EpisodeStore, open_store
from jepawm.data.joining import copy_episodes
from jepawm.data.mixture import SETTING
from jepawm.data.writer import EpisodeWriter
from jepawm.evaluation.metrics import mean_interval
from recipes import ROOT, jepawm, machine, public


def main() -> None:
    """Run what is missing, one after the other, and sum up."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="recordings, or a store")
    parser.add_argument("--leave", type=int, default=2, help="episodes that a fold leaves out")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--clips", type=int, default=96, help="clips of each evaluation")
    parser.add_argument("--image-size", type=int, default=64)
    parser.add_argument("--runs", type=Path, required=True, help="folder for stores and runs")
    parser.add_argument("--results", type=Path, default=ROOT / "results" / "leave_out.jsonl")
    options, passed_on = parser.parse_known_args()
    store = imported(options.data, options.runs / "all", image_size=options.image_size)
    folds = np.array_split(np.arange(len(store)), max(1, len(store) // options.leave))
    done = read(options.results, passed_on)
    for number, fold in enumerate(folds):
        for seed in options.seeds:
            if (number, seed) in done:
                continue
            row = run(store, fold, number=number, seed=seed, options=options, extra=passed_on)
            options.results.parent.mkdir(parents=True, exist_ok=True)
            with options.results.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
            done[number, seed] = row
            print(f"fold {number}, seed {seed}: {distances(row)}")
    summarise(done)


def imported(data: Path, place: Path, *, image_size: int) -> EpisodeStore:
    """Return the recordings as a store."""
    if (data / "manifest.json").is_file():
        return open_store(data)
    if not place.exists():
        size = ["--image-size", f"{image_size}"]
        jepawm(shlex.join(["data", "import", f"{data}", "--out", f"{place}", *size]))
    return open_store(place)


def run(
    store: EpisodeStore,
    fold: np.ndarray,
    *,
    number: int,
    seed: int,
    options: argparse.Namespace,
    extra: list[str],
) -> dict:
    """Train without a fold and evaluate on it; returns the row."""
    ordered, folder = options.runs / f"fold-{number}", options.runs / f"fold-{number}-seed-{seed}"
    if not ordered.exists():
        reorder(store, ordered, last=fold)
    held = ["--data.held-out", f"{len(fold)}", *extra]
    row = train_and_evaluate(ordered, folder, seed=seed, clips=options.clips, extra=held)
    return row | {"fold": number, "left_out": fold.tolist(), "options": extra}


def train_and_evaluate(
    data: Path, folder: Path, *, seed: int, clips: int, extra: list[str]
) -> dict:
    """Train on a store and evaluate on its last episodes, which are held out; returns the row."""
    shutil.rmtree(folder, ignore_errors=True)  # of a run that was interrupted
    place = ["--data", f"{data}", "--seed", f"{seed}", "--out", f"{folder}"]
    train = shlex.join(["train", "robot", *place, *extra])
    evaluate = shlex.join(["eval", f"{folder}", "--episodes", f"{clips}"])
    trained, results = jepawm(train), jepawm(evaluate)
    results.pop("written")
    return {
        "commands": [f"jepawm {public(train)}", f"jepawm {public(evaluate)}"],
        "machine": machine(),
        "training_seed": seed,
        "training_seconds": trained["training_seconds"],
        **results,
    }


def reorder(store: EpisodeStore, place: Path, *, last: np.ndarray) -> None:
    """Write a store of the same episodes, some of them last, where they are held out."""
    others = [one for one in range(len(store)) if one not in last]
    manifest = store.manifest
    with EpisodeWriter(
        place,
        environment=manifest.environment,
        image_size=manifest.image_size,
        settings={k: v for k, v in manifest.settings.items() if k != SETTING}
        | {"reordered": store.sha256},
        pixels="raw",
        fps=manifest.fps,
        source=manifest.source,
        reward_names=manifest.reward_names or (),
        cameras=store.cameras,
    ) as writer:
        copy_episodes(store, writer, episodes=[*others, *last.tolist()])


def read(results: Path, extra: list[str]) -> dict[tuple[int, int], dict]:
    """Return the rows that are there already for the same options, by fold and seed."""
    if not results.exists():
        return {}
    rows = [json.loads(line) for line in results.read_text(encoding="utf-8").splitlines()]
    return {(row["fold"], row["training_seed"]): row for row in rows if row["options"] == extra}


def distances(row: dict) -> str:
    """Return the L1 of every row in words."""
    return ", ".join(f"{name} {value['l1']:.3f}" for name, value in row["actions"].items())


def summarise(done: dict[tuple[int, int], dict]) -> None:
    """Print the model's distance less that of every other row, over folds."""
    for name in next(iter(done.values()))["actions"]:
        apart = defaultdict(list)
        for (fold, _), row in done.items():
            apart[fold].append(row["actions"]["model"]["l1"] - row["actions"][name]["l1"])
        found = mean_interval(np.array([np.mean(values) for values in apart.values()]))
        low, high = found.ci95
        print(f"model minus {name:<9} {found.difference:+.4f}  [{low:+.4f}, {high:+.4f}]")


if __name__ == "__main__":
    main()
