"""Train the proposer of a model with several seeds, and solve test tasks without search.

    python benchmarks/proposers.py wall --num-episodes 600 --out runs/proposers

A row for each seed goes to results/proposers.jsonl: seconds of training (wall time with the default
threads, and processor time), and the success of `direct` and `propose` on 192 test tasks of protocol
paper, the same for all seeds. `wall_seconds` has the collection of missing data in it, `training_seconds`
has not. What is there in `--out` is not trained again.
"""

import argparse
import json
import platform
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter, process_time

import torch
from tasks import command, find_tasks

from jepawm.evaluation.episodes import run_episodes
from jepawm.evaluation.metrics import wilson_interval
from jepawm.files import data_root
from jepawm.hub.load import load, preset_planner
from jepawm.protocol import hash_tasks
from jepawm.recipes import RECIPES
from jepawm.runs import ProposerRules, train_proposer_run

RESULTS = Path(__file__).parents[1] / "results" / "proposers.jsonl"


def main() -> None:
    """Append a row for each seed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", help="bundled checkpoint or run")
    parser.add_argument(
        "--recipe", help="whose proposer is trained; the name of the source if not given"
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--num-episodes", type=int)
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--task-seed", type=int, default=11)
    parser.add_argument("--num-tasks", type=int, default=192)
    options = parser.parse_args()
    for seed in options.seeds:
        row = measure(options, seed)
        print(json.dumps(row))
        with RESULTS.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


def measure(options: argparse.Namespace, seed: int) -> dict[str, object]:
    """Train one proposer and return its row."""
    recipe = options.recipe or Path(options.source).name
    config = RECIPES.get(recipe).proposals  # pyright: ignore[reportAttributeAccessIssue]
    run = options.out / f"{Path(options.source).name}-{seed}"
    rules = ProposerRules(out=run, num_episodes=options.num_episodes, seed=seed, num_tasks=0)
    root = data_root(options.data_root)
    began, cpu = perf_counter(), process_time()
    done = train_proposer_run(
        options.source, config, rules=rules, data_root=root, device="cpu", resume=True
    )
    row: dict[str, object] = {
        "source": Path(options.source).name,
        "recipe": recipe,
        "seed": seed,
        "steps": done.steps,
        "parameters": done.parameters,
        "training_seconds": done.training_seconds,
        "wall_seconds": perf_counter() - began,
        "cpu_seconds": process_time() - cpu,
    }
    loaded = load(run)
    protocol = loaded.experiment.protocol("paper")
    env, tasks = find_tasks(
        loaded,
        protocol=protocol,
        num_tasks=options.num_tasks,
        seed=options.task_seed,
        split="test",
        data_root=options.data_root,
    )
    for preset in ("direct", "propose"):
        planner = preset_planner(loaded.run, preset)
        agent = loaded.agent(protocol=protocol, planner=planner)
        success = run_episodes(env, tasks, agent=agent, protocol=protocol).success(protocol)
        row[preset] = {
            "success": float(success.mean()),
            "ci95": wilson_interval(int(success.sum()), len(success)),
            "searched_plans": agent.num_searched,
        }
    return row | {
        "tasks": {"split": "test", "seed": options.task_seed, "sha256": hash_tasks(tasks)},
        "threads": torch.get_num_threads(),
        "command": command(),
        "date": datetime.now(tz=UTC).date().isoformat(),
        "machine": platform.processor() or platform.machine(),
    }


if __name__ == "__main__":
    main()
