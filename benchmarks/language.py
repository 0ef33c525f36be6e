"""Measure how often plans for sentences reach what they say.

    python benchmarks/language.py runs/words
    python benchmarks/language.py runs/words --instructions seen --protocol mpc

Appends a row to results/goals.jsonl for each kind of sentence: success of the model, of the model with
the instruction of another task, of the oracle, of random actions and of doing nothing, on 96 test starts.
"""

import argparse
import json
import platform
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import torch
from tasks import command

from jepawm.captions import SPLITS
from jepawm.checkpoint import load_checkpoint
from jepawm.hub.texts import TEXT, require_text_record
from jepawm.planning.terms.text import TextDistance
from jepawm.runs import TaskRules, evaluate_language, preset_planner

RESULTS = Path(__file__).parents[1] / "results" / "goals.jsonl"


def main() -> None:
    """Append the rows."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", help="run folder with a map to texts")
    parser.add_argument("--folder", default=TEXT, help="folder of the map in it")
    parser.add_argument("--instructions", nargs="+", choices=SPLITS, default=list(SPLITS))
    parser.add_argument("--protocol", default="paper")
    parser.add_argument("--preset", help="planner's settings; the run's own if not given")
    parser.add_argument("--num-tasks", type=int, default=96)
    parser.add_argument("--seed", type=int, default=11)
    options = parser.parse_args()
    for split in options.instructions:
        row = measure(options, split)
        print(json.dumps(row))
        with RESULTS.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


def measure(options: argparse.Namespace, split: str) -> dict[str, object]:
    """Evaluate one kind of sentence and return its row."""
    folder = Path(options.run) / options.folder
    record = require_text_record(load_checkpoint(folder), source=folder)
    with tempfile.TemporaryDirectory() as out:
        done = evaluate_language(
            options.run,
            TaskRules(protocol=options.protocol, num_tasks=options.num_tasks, seed=options.seed),
            instructions=split,
            objective=TextDistance(folder=options.folder),
            planner=options.preset and preset_planner(options.run, options.preset),
            out=Path(out),
        )
        found = json.loads(done.written.read_text(encoding="utf-8"))
    return {
        "source": Path(options.run).name,
        "goal_kind": "text_alignment",
        "learned": {"config": record.config, "source": record.source, "step": record.step},
        **{name: value for name, value in found.items() if name not in ("versions", "texts")},
        "threads": torch.get_num_threads(),
        "machine": platform.machine(),
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "command": command(),
    }


if __name__ == "__main__":
    main()
