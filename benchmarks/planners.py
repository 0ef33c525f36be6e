"""Success of planners against compute, on the same tasks, and the curve of both.

    python benchmarks/planners.py wall                      # all of them, 192 test tasks
    python benchmarks/planners.py wall --only paper fast    # some
    python benchmarks/planners.py wall --draw               # nothing but the figure

Rows go to results/planners.jsonl: success with its interval, the paired difference to the paper's
CEM on the same tasks, GFLOP, wall and processor seconds of a plan, and the outcome of every task.
"""

import argparse
import json
import platform
import shlex
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from time import process_time

import numpy as np
import torch
from drawing import write_chart

from jepawm.evaluation.episodes import run_episodes
from jepawm.evaluation.evaluate import planning_agent
from jepawm.evaluation.metrics import paired_difference, wilson_interval
from jepawm.evaluation.tasks import draw_tasks, hash_tasks
from jepawm.hub.load import LoadedModel, load
from jepawm.planning.ask_tell import CMAES, Nevergrad
from jepawm.planning.cem import CEM
from jepawm.planning.gradient import Adam, GradientDescent
from jepawm.planning.hybrid import Hybrid
from jepawm.planning.icem import ICEM
from jepawm.planning.mppi import MPPI
from jepawm.planning.presets import find_preset, preset_names
from jepawm.planning.random_shooting import RandomShooting
from jepawm.planning.reference_gradient import ReferenceGD
from jepawm.protocols import Planner
from jepawm.report.charts import Chart, Series
from jepawm.runs.evaluate import build_env, gflop_per_plan, planning_setup

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "results" / "planners.jsonl"
PLANNERS: dict[str, list[Planner]] = {
    "cem": [
        CEM(num_samples=s, num_iterations=i) for s, i in ((64, 5), (100, 10), (300, 10), (300, 30))
    ],
    "icem": [
        ICEM(num_samples=s, num_iterations=i, decay=1.0, init_std=0.5, action_repeat=5)
        for s, i in ((32, 5), (64, 10), (128, 10), (128, 20))
    ],
    "mppi": [MPPI(num_samples=s, num_iterations=i) for s, i in ((100, 10), (300, 30))],
    "gd": [
        GradientDescent(num_starts=s, num_iterations=i)
        for s, i in ((2, 10), (4, 10), (4, 20), (8, 20), (16, 20))
    ],
    "adam": [Adam(num_starts=s, num_iterations=i) for s, i in ((8, 20), (16, 40))],
    "icem_then_gd": [
        Hybrid(
            sampler=ICEM(num_samples=s, num_iterations=3, init_std=0.5, action_repeat=5),
            refiner=GradientDescent(num_starts=n, num_iterations=i, init_std=0.3),
        )
        for s, n, i in ((32, 2, 5), (32, 2, 10), (64, 4, 15), (128, 8, 20))
    ],
    "random_shooting": [RandomShooting()],
    "reference_gd": [ReferenceGD()],
    "cma": [CMAES()],
    "nevergrad": [Nevergrad()],
}
"""Each by its budgets, cheapest first."""


def main() -> None:
    """Measure what is asked for and draw the figure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", help="bundled checkpoint or run")
    parser.add_argument("--only", nargs="+", help="names of planners and presets")
    parser.add_argument("--protocol", default="paper")
    parser.add_argument("--num-tasks", type=int, default=192)
    parser.add_argument("--split", default="test", choices=("test", "val"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--draw", action="store_true", help="only draw")
    options = parser.parse_args()
    if not options.draw:
        measure(options)
    draw(options)


def measure(options: argparse.Namespace) -> None:
    """Append one row per planner and budget."""
    torch.set_flush_denormal(True)
    loaded = load(options.source)
    names = options.only or list(dict.fromkeys([*preset_names(), *PLANNERS]))
    frameskip = loaded.experiment.data.frameskip
    baseline = None
    for name in ["paper", *(name for name in names if name != "paper")]:
        preset = name in preset_names()
        planners = [find_preset(name, frameskip=frameskip)] if preset else PLANNERS[name]
        for planner in planners:
            row, success = run(loaded, planner, options)
            baseline = success if name == "paper" else baseline
            assert baseline is not None
            found = paired_difference(success, baseline)
            row |= {
                "name": name,
                "minus_paper": {"difference": found.difference, "ci95": found.ci95},
            }
            print(
                f"{name:16} success {row['success']:.3f}  minus paper {found.difference:+.3f} "
                f"[{found.ci95[0]:+.3f}, {found.ci95[1]:+.3f}]  {row['gflop_per_plan']:8.2f} GFLOP  "
                f"{1e3 * row['cpu_seconds_per_plan']:8.1f} ms",
                flush=True,
            )
            with options.results.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")


def run(
    loaded: LoadedModel, planner: Planner, options: argparse.Namespace
) -> tuple[dict[str, object], np.ndarray]:
    """Evaluate one planner; returns its row and the outcome of each task."""
    protocol = loaded.experiment.protocol(options.protocol)
    setup = planning_setup(loaded, protocol, planner=planner)
    env = build_env(loaded.experiment.env, image_size=loaded.experiment.data.image_size)
    tasks = draw_tasks(env, num_tasks=options.num_tasks, seed=options.seed, split=options.split)
    generator = torch.Generator().manual_seed(options.seed)
    agent = planning_agent(setup, protocol, generator=generator)
    started = process_time()
    outcome = run_episodes(env, tasks, agent=agent, protocol=protocol, on_block=lambda: None)
    cpu_seconds = process_time() - started
    success = outcome.success(protocol)
    row: dict[str, object] = {
        "source": options.source,
        "protocol": options.protocol,
        "planner": {"type": type(planner).__name__, **asdict(planner)},
        "tasks": {"split": options.split, "seed": options.seed, "sha256": hash_tasks(tasks)},
        "success": float(success.mean()),
        "ci95": wilson_interval(int(success.sum()), len(success)),
        "gflop_per_plan": gflop_per_plan(loaded, setup, protocol=protocol),
        "seconds_per_plan": outcome.seconds_per_plan(protocol),
        "cpu_seconds_per_plan": cpu_seconds / (len(tasks) * protocol.num_plans),
        "outcomes": "".join(str(int(one)) for one in success),
        "threads": torch.get_num_threads(),
        "command": shlex.join(["python", "benchmarks/planners.py", *sys.argv[1:]]),
        "date": datetime.now(tz=UTC).date().isoformat(),
        "machine": platform.processor() or platform.machine(),
    }
    return row, success


def draw(options: argparse.Namespace) -> None:
    """Draw success against GFLOP from the newest row of each planner and budget."""
    lines = options.results.read_text(encoding="utf-8").splitlines()
    rows = {
        (row["name"], json.dumps(row["planner"])): row
        for row in map(json.loads, lines)
        if (row["source"], row["protocol"]) == (options.source, options.protocol)
        and row["tasks"]["split"] == options.split
    }
    series = []
    for name in PLANNERS:
        points = sorted(
            (np.log10(row["gflop_per_plan"]), row["success"])
            for key, row in rows.items()
            if key[0] == name
        )
        if points:
            xs, ys = zip(*points, strict=True)
            series.append(Series(label=name, xs=xs, ys=ys, tone=len(series) % 8))
    chart = Chart(
        name="planners",
        title=f"{options.source}: success against compute",
        x_label="log10 of GFLOP per plan",
        caption="",
        series=tuple(series),
    )
    write_chart(chart, ROOT / "docs" / "images" / f"planners-{options.source}.svg")


if __name__ == "__main__":
    main()
