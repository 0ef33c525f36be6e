"""Planning under a time budget: how late plans come, and how good they are.

    python benchmarks/time_budget.py latency                 # a random model of LeWorldModel's size
    python benchmarks/time_budget.py success wall            # tasks one at a time, by budget
    python benchmarks/time_budget.py draw wall

Rows go to results/time_budget.jsonl: for each planner and budget the median, the 95th percentile and
the maximum of the wall time of a plan, and the success on the tasks. Measure on an idle machine.
"""

import argparse
import json
import os
import platform
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from drawing import write_chart
from tasks import command, find_tasks

from jepawm.build import build_model
from jepawm.contracts import Planner
from jepawm.engine.process import tune_process
from jepawm.engine.rollout_engine import RolloutEngine
from jepawm.evaluation.episodes import run_episodes
from jepawm.evaluation.metrics import wilson_interval
from jepawm.experiment import Experiment
from jepawm.hub.load import load
from jepawm.models.encoders import EncoderConfig
from jepawm.models.predictor import PredictorConfig
from jepawm.planning.icem import ICEM
from jepawm.planning.objectives import LatentDistance
from jepawm.planning.presets import find_preset
from jepawm.report.charts import Chart, Series
from jepawm.types import Context, Observation

ROOT = Path(__file__).parents[1]
BUDGETS_MS = (10, 20, 50, 100, 200, 500, 1000)
PLANNERS: dict[str, Planner] = {
    "icem": ICEM(num_samples=300, num_iterations=10, init_std=0.5, action_repeat=5, decay=1.0),
    "fast": find_preset("fast", frameskip=5),
}
LEWM = Experiment(
    encoder=EncoderConfig(dim=192, grid=1, image_size=64),
    predictor=PredictorConfig(
        window=3, depth=6, visual_dim=192, num_heads=16, head_dim=64, hidden_dim=2048
    ),
)
"""One token of 192 channels, 6 layers, 16 heads of 64, MLP of 2048."""


def main() -> None:
    """Do one part."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", choices=("latency", "success", "draw"))
    parser.add_argument("source", nargs="?", default="wall", help="checkpoint of `success`, `draw`")
    parser.add_argument("--planners", nargs="+", default=list(PLANNERS), choices=list(PLANNERS))
    parser.add_argument("--budgets-ms", type=int, nargs="+", default=BUDGETS_MS)
    parser.add_argument("--num-plans", type=int, default=100)
    parser.add_argument("--num-tasks", type=int, default=96)
    parser.add_argument("--split", default="test", choices=("test", "val"))
    parser.add_argument("--data-root", type=Path, help="folder of recordings that tasks come from")
    parser.add_argument("--results", type=Path, default=ROOT / "results" / "time_budget.jsonl")
    options = parser.parse_args()
    tune_process()
    if options.part == "draw":
        draw(options)
        return
    measure: Callable[[argparse.Namespace, Planner], dict[str, object]] = (
        latency if options.part == "latency" else success
    )
    for name in options.planners:
        for budget in options.budgets_ms:
            planner = replace(PLANNERS[name], time_budget_s=budget / 1e3)
            row = {"part": options.part, "planner": name, "budget_ms": budget}
            row |= measure(options, planner)
            row |= {
                "command": command(),
                "threads": torch.get_num_threads(),
                "load_average": os.getloadavg()[0],
                "machine": platform.processor() or platform.machine(),
                "date": datetime.now(tz=UTC).date().isoformat(),
            }
            print(json.dumps(row), flush=True)
            with options.results.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")


def latency(options: argparse.Namespace, planner: Planner) -> dict[str, object]:
    """Time plans of six blocks with random weights."""
    model = (
        build_model(LEWM, action_dim=2, proprio_dim=2).eval().requires_grad_(requires_grad=False)
    )
    pixels = torch.randint(256, (1, 1, 3, 64, 64), dtype=torch.uint8)
    with torch.no_grad():
        latents = model.encode(Observation(pixels=pixels))
    context = Context(latents=latents, actions=torch.zeros(1, 0, 10))
    goal, objective = latents[:, 0].map(lambda tensor: tensor + 1.0), LatentDistance()

    def cost(engine: RolloutEngine, actions: torch.Tensor) -> torch.Tensor:
        return engine.cost(actions, objective=objective, goal=goal)

    generator = torch.Generator().manual_seed(0)
    times = []
    with torch.no_grad():
        for _ in range(options.num_plans + 3):
            started = perf_counter()
            told = partial(cost, RolloutEngine(model, context))  # part of a plan, as in the agent
            planner.plan(told, torch.zeros(1, 6, 10), bounds=None, generator=generator)
            times.append(1e3 * (perf_counter() - started))
    return {"size": "lewm", "plans": options.num_plans, **quantiles(times[3:])}


def success(options: argparse.Namespace, planner: Planner) -> dict[str, object]:
    """Solve tasks one at a time, each plan within the budget."""
    loaded = load(options.source)
    protocol = loaded.experiment.protocol("paper")
    env, tasks = find_tasks(
        loaded,
        protocol=protocol,
        num_tasks=options.num_tasks,
        seed=0,
        split=options.split,
        data_root=options.data_root,
    )
    agent = loaded.agent(protocol=protocol, planner=planner)
    reached, times = [], []
    for task in tasks:
        outcome = run_episodes(env, [task], agent=agent, protocol=protocol)
        reached.append(bool(outcome.success(protocol)[0]))
        times.append(1e3 * outcome.seconds_per_plan(protocol))
    return {
        "source": Path(options.source).name,
        "split": options.split,
        "tasks": len(tasks),
        "success": float(np.mean(reached)),
        "ci95": wilson_interval(sum(reached), len(reached)),
        **quantiles(times),
    }


def quantiles(times: list[float]) -> dict[str, float]:
    """Return the median, the 95th percentile and the maximum of times in ms."""
    return {
        "p50_ms": float(np.median(times)),
        "p95_ms": float(np.percentile(times, 95)),
        "max_ms": max(times),
    }


def draw(options: argparse.Namespace) -> None:
    """Draw success against budget from the newest rows."""
    source = Path(options.source).name
    rows = map(json.loads, options.results.read_text(encoding="utf-8").splitlines())
    newest = {
        (row["planner"], row["budget_ms"]): row
        for row in rows
        if row["part"] == "success" and row["source"] == source
    }
    series = []
    for tone, name in enumerate(PLANNERS):
        points = sorted((key[1], row["success"]) for key, row in newest.items() if key[0] == name)
        if points:
            budgets, rates = zip(*points, strict=True)
            series.append(Series(label=name, xs=np.log10(budgets), ys=rates, tone=tone))
    chart = Chart(
        name="time-budget",
        title=f"{source}: success against the time for a plan",
        x_label="log10 of the budget in ms",
        caption="",
        series=tuple(series),
    )
    write_chart(chart, ROOT / "docs" / "images" / f"time-budget-{source}.svg")


if __name__ == "__main__":
    main()
