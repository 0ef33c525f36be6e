"""Success of planners against compute, on the same tasks, and the curve of both.

    python benchmarks/planners.py wall                      # all of them, 192 test tasks
    python benchmarks/planners.py wall --only paper fast oracle do_nothing      # some
    python benchmarks/planners.py wall --draw               # the figure of what was measured

Rows go to results/planners.jsonl, each as soon as it is there: success with its interval, the paired
difference to the paper's CEM (measured first) on the same tasks, GFLOP, wall and processor seconds
of a plan (simulator and pictures apart), and the outcome of every task.
"""

import argparse
import json
import platform
from datetime import UTC, datetime
from pathlib import Path
from time import process_time

import numpy as np
import torch
from drawing import write_chart
from tasks import command, find_tasks
from torch import Tensor

from jepawm.contracts import Agent, Planner
from jepawm.engine.process import tune_process
from jepawm.evaluation.episodes import join, run_episodes
from jepawm.evaluation.evaluate import row_agents
from jepawm.evaluation.metrics import paired_difference, wilson_interval
from jepawm.evaluation.results import MODEL, describe
from jepawm.evaluation.seeds import reseed
from jepawm.hub.load import LoadedModel, load, preset_planner
from jepawm.planning.ask_tell import CMAES, Nevergrad
from jepawm.planning.cem import CEM
from jepawm.planning.gradient import Adam, GradientDescent
from jepawm.planning.hybrid import Hybrid
from jepawm.planning.icem import ICEM
from jepawm.planning.mppi import MPPI
from jepawm.planning.presets import preset_names
from jepawm.planning.random_shooting import RandomShooting
from jepawm.planning.reference_gradient import ReferenceGD
from jepawm.protocol import hash_tasks
from jepawm.report.charts import Chart, Series
from jepawm.runs.evaluate import gflop_per_plan
from jepawm.types import Observation

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
BASELINES = ("do_nothing", "random", "oracle")
"""Agents without a model; the oracle plans on the simulator, by the paper's CEM."""
NAMES = tuple(dict.fromkeys([*preset_names(), *PLANNERS, *BASELINES]))


def main() -> None:
    """Measure what is asked for, or draw the figure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", help="bundled checkpoint or run")
    parser.add_argument("--only", nargs="+", choices=NAMES, default=NAMES)
    parser.add_argument("--protocol", default="paper")
    parser.add_argument("--num-tasks", type=int, default=192)
    parser.add_argument("--tasks-per-batch", type=int, help="planned in lockstep; all if not given")
    parser.add_argument("--split", default="test", choices=("test", "val"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data-root", type=Path, help="folder of recordings that tasks come from")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--draw", action="store_true", help="draw what was measured")
    options = parser.parse_args()
    if options.draw:
        draw(options)
    else:
        measure(options)


def measure(options: argparse.Namespace) -> None:
    """Append one row per planner and budget."""
    tune_process()
    loaded = load(options.source)
    paper = None
    for name in ["paper", *(name for name in options.only if name != "paper")]:
        for planner in planners(name, loaded):
            row, success = run(loaded, planner, name=name, options=options)
            paper = success if paper is None else paper
            found = paired_difference(success, paper)
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


def planners(name: str, loaded: LoadedModel) -> list[Planner]:
    """Return the planners of a name; the paper's for an agent without a model."""
    if name in PLANNERS:
        return PLANNERS[name]
    preset = "paper" if name in BASELINES else name
    return [preset_planner(loaded.run, preset)]


def run(
    loaded: LoadedModel, planner: Planner, *, name: str, options: argparse.Namespace
) -> tuple[dict[str, object], np.ndarray]:
    """Evaluate one planner or baseline; returns its row and the outcome of each task."""
    protocol = loaded.experiment.protocol(options.protocol)
    plans = name not in BASELINES
    planning = loaded.agent(protocol=protocol, planner=planner, seed=options.seed)
    env, tasks = find_tasks(
        loaded,
        protocol=protocol,
        num_tasks=options.num_tasks,
        seed=options.seed,
        split=options.split,
        data_root=options.data_root,
    )
    agent = planning
    if not plans:
        agent = row_agents(env, {MODEL: planning}, agent=planning, protocol=protocol)[name]
    timed = Timed(agent)
    size = options.tasks_per_batch or len(tasks)
    outcomes, num_searched = [], 0
    for start in range(0, len(tasks), size):
        batch = tasks[start : start + size]
        numbers = range(start, start + len(batch))
        reseed(agent, MODEL if plans else name, seed=options.seed, tasks=numbers)
        outcomes.append(run_episodes(env, batch, agent=timed, protocol=protocol))
        num_searched += planning.num_searched
    outcome = join(outcomes)
    success = outcome.success(protocol)
    row: dict[str, object] = {
        "source": Path(options.source).name,
        "protocol": options.protocol,
        "planner": describe(planner).to_json() if plans or name == "oracle" else None,
        "tasks": {"split": options.split, "seed": options.seed, "sha256": hash_tasks(tasks)},
        "success": float(success.mean()),
        "ci95": wilson_interval(int(success.sum()), len(success)),
        "gflop_per_plan": gflop_per_plan(loaded, planning) if plans else 0.0,
        "seconds_per_plan": outcome.seconds_per_plan(protocol),
        "cpu_seconds_per_plan": timed.cpu_seconds / (len(tasks) * protocol.num_plans),
        "tasks_per_batch": size,
        "searched_plans": num_searched,
        "outcomes": "".join(str(int(one)) for one in success),
        "threads": torch.get_num_threads(),
        "command": command(),
        "date": datetime.now(tz=UTC).date().isoformat(),
        "machine": platform.processor() or platform.machine(),
    }
    return row, success


class Timed:
    """An agent whose processor seconds are added up."""

    def __init__(self, agent: Agent) -> None:
        """Take the agent."""
        self._agent = agent
        self.cpu_seconds = 0.0

    def reset(self, goal: Observation, num_steps: int | None = None) -> None:
        """Start an episode."""
        self._agent.reset(goal, num_steps)

    def act(self, obs: Observation) -> Tensor:
        """Return the next action blocks."""
        started = process_time()
        actions = self._agent.act(obs)
        self.cpu_seconds += process_time() - started
        return actions


def draw(options: argparse.Namespace) -> None:
    """Draw success against GFLOP from the newest row of each planner and budget."""
    source = Path(options.source).name
    lines = options.results.read_text(encoding="utf-8").splitlines()
    rows = {
        (row["name"], json.dumps(row["planner"])): row
        for row in map(json.loads, lines)
        if (row["source"], row["protocol"]) == (source, options.protocol)
        and (row["tasks"]["split"], row["tasks"]["seed"]) == (options.split, options.seed)
    }
    series = []
    for name in dict.fromkeys([*preset_names(), *PLANNERS]):
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
        title=f"{source}: success against compute",
        x_label="log10 of GFLOP per plan",
        caption="",
        series=tuple(series),
    )
    write_chart(chart, ROOT / "docs" / "images" / f"planners-{source}.svg")


if __name__ == "__main__":
    main()
