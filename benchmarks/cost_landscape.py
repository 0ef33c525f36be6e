"""The planning cost around the best plan, and why the reference's gradient planner does not get there.

    python benchmarks/cost_landscape.py wall

For some tasks: the cost over the plane through the best plan that was found, the start of the
reference's gradient descent and where it ends after 500 steps. The figure goes to docs/images, the
numbers (how far it had to go, how far it went, how long its steps were) to
results/cost_landscape.jsonl.
"""

import argparse
import json
from datetime import UTC, datetime
from pathlib import Path

import torch
from drawing import write_maps
from tasks import command, find_tasks
from torch import Tensor

from jepawm.contracts import CostFn
from jepawm.engine.process import tune_process
from jepawm.engine.rollout_engine import RolloutEngine
from jepawm.hub.load import LoadedModel, load
from jepawm.planning.presets import find_preset
from jepawm.planning.reference_gradient import ReferenceGD
from jepawm.types import Context

ROOT = Path(__file__).parents[1]


def main() -> None:
    """Draw the cost of some tasks and write down what the reference did there."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", help="bundled checkpoint or run")
    parser.add_argument("--num-tasks", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--points", type=int, default=41, help="along each side")
    parser.add_argument("--data-root", type=Path, help="folder of recordings that tasks come from")
    parser.add_argument("--results", type=Path, default=ROOT / "results" / "cost_landscape.jsonl")
    options = parser.parse_args()
    tune_process()
    loaded, source = load(options.source), Path(options.source).name
    cost, init = problem(loaded, options)
    generator = torch.Generator().manual_seed(options.seed)
    preset = find_preset("hybrid", frameskip=loaded.experiment.data.frameskip)
    best = preset.plan(cost, init, bounds=None, generator=generator)
    path: list[Tensor] = []

    def watched(actions: Tensor) -> Tensor:
        path.append(actions.detach()[:, 0])
        return cost(actions)

    with torch.no_grad():
        reference = ReferenceGD().plan(watched, init, bounds=None, generator=generator)
        start, end = path[0], reference.actions
        maps, extent = landscape(cost, best.actions, toward=start, also=end, points=options.points)
    write_maps(
        {
            f"task {i}: reference ends at {c:.2g}": m
            for i, (m, c) in enumerate(zip(maps.numpy(), reference.cost.tolist(), strict=True))
        },
        ROOT / "docs" / "images" / f"cost-landscape-{source}.svg",
        extent=extent,
        caption="log10 of the cost around the best plan (dot); right: toward the reference's start.",
    )
    steps = torch.stack(path).diff(dim=0).flatten(2).norm(dim=-1)  # [I - 1, B]
    for task in range(options.num_tasks):
        row = {
            "source": source,
            "task": task,
            "best_cost": float(best.cost[task]),
            "start_cost": float(reference.history[0, task]),
            "reference_cost": float(reference.cost[task]),
            "start_to_best": float((start - best.actions)[task].norm()),
            "reference_travelled": float((end - start)[task].norm()),
            "reference_to_best": float((end - best.actions)[task].norm()),
            "median_step": float(steps[:, task].median()),
            "noise_step": float(0.003 * init[0].numel() ** 0.5),
            "command": command(),
            "date": datetime.now(tz=UTC).date().isoformat(),
        }
        print(json.dumps(row))
        with options.results.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


def problem(loaded: LoadedModel, options: argparse.Namespace) -> tuple[CostFn, Tensor]:
    """Return the planning cost of validation tasks of a model, and the initial guess."""
    experiment, normalizer, model = loaded.experiment, loaded.normalizer, loaded.model
    protocol = experiment.protocol("paper")
    env, tasks = find_tasks(
        loaded,
        protocol=protocol,
        num_tasks=options.num_tasks,
        seed=options.seed,
        split="val",
        data_root=options.data_root,
    )
    obs = normalizer.observation(env.reset(tasks))
    goal_obs = normalizer.observation(env.goal_observation())
    width = protocol.frameskip * normalizer.action_dim
    with torch.no_grad():
        latents, goal = model.encode(obs[:, None]), model.encode(goal_obs)
        context = Context(latents=latents, actions=torch.zeros(len(tasks), 0, width))
        agent = experiment.agent
        engine = RolloutEngine(model, context, window=agent.window, config=agent.engine)

    def cost(actions: Tensor) -> Tensor:
        return engine.cost(actions, objective=experiment.objective, goal=goal)

    return cost, torch.zeros(len(tasks), protocol.horizon, width)


def landscape(
    cost: CostFn, best: Tensor, *, toward: Tensor, also: Tensor, points: int
) -> tuple[Tensor, float]:
    """Return costs `[B, points, points]` on the plane through three plans `[B, H, A]`, and its half side."""
    first = toward - best
    first = first / first.flatten(1).norm(dim=1)[:, None, None]
    second = also - toward
    second = second - (second * first).sum((-2, -1), keepdim=True) * first
    second = second / second.flatten(1).norm(dim=1)[:, None, None]
    extent = 1.25 * float((toward - best).flatten(1).norm(dim=1).max())
    ticks = torch.linspace(-extent, extent, points)
    down, right = torch.meshgrid(ticks, ticks, indexing="ij")
    grid = (
        best[:, None]
        + right.flatten()[None, :, None, None] * first[:, None]
        + down.flatten()[None, :, None, None] * second[:, None]
    )  # [B, points^2, H, A]
    return cost(grid).log10().unflatten(1, (points, points)), extent


if __name__ == "__main__":
    main()
