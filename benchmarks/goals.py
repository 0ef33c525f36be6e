"""Measure plans on a learned reward, and what terms of an objective cost in time.

    python benchmarks/goals.py runs/corner --reward corner
    python benchmarks/goals.py runs/corner --time

The first appends a row to results/goals.jsonl: the mean true reward of 96 test episodes of the model's
plans, of the oracle, of the data's policy and of random actions, with 95 % intervals; the planner is the
same small CEM for model and oracle. The second prints the seconds of a plan for the goal alone and for
the goal with a reward and three other terms, in turns.
"""

import argparse
import json
import platform
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from time import perf_counter

import torch
from tasks import command

from jepawm.hub.load import LoadedModel, load
from jepawm.planning.cem import CEM
from jepawm.planning.terms.expression import parse_objective
from jepawm.runs import TaskRules, evaluate_reward
from jepawm.runs.returns import read_reward

RESULTS = Path(__file__).parents[1] / "results" / "goals.jsonl"
PLANNER = CEM(num_samples=60, num_elites=6, num_iterations=6)
TERMS = "goal + 0.1*{0} + 0.01*action_size + 0.01*smoothness + keep_out(low=(900, 900), high=(999, 999))"


def main() -> None:
    """Append a row, or print times."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", help="run folder with a reward")
    parser.add_argument("--folder", default="reward", help="folder of the reward in it")
    parser.add_argument("--reward", help="true reward; the one that was learned if not given")
    parser.add_argument("--protocol", default="paper")
    parser.add_argument("--num-tasks", type=int, default=96)
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--time", action="store_true", help="measure the time of plans instead")
    options = parser.parse_args()
    if options.time:
        print_times(load(options.run), f"reward(folder='{options.folder}')")
        return
    row = measure(options)
    print(json.dumps(row))
    with RESULTS.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


def measure(options: argparse.Namespace) -> dict[str, object]:
    """Evaluate one reward on test tasks and return its row."""
    record = read_reward(Path(options.run) / options.folder)
    with tempfile.TemporaryDirectory() as out:
        done = evaluate_reward(
            options.run,
            TaskRules(protocol=options.protocol, num_tasks=options.num_tasks, seed=options.seed),
            objective=parse_objective(f"reward(folder='{options.folder}')"),
            reward=options.reward,
            planner=PLANNER,
            out=Path(out),
        )
    found = done.results.to_json()
    return {
        "source": Path(options.run).name,
        "goal_kind": record.source["kind"],
        "learned": {"config": record.config, "source": record.source, "step": record.step},
        **{name: value for name, value in found.items() if name != "versions"},
        "threads": torch.get_num_threads(),
        "machine": platform.machine(),
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "command": command(),
    }


def print_times(loaded: LoadedModel, reward: str) -> None:
    """Print the median seconds of a plan for a batch of 16, with and without terms, in turns."""
    env = loaded.make_env()
    obs = env.reset(env.sample_tasks(0, num_tasks=16))
    texts = {"goal": "goal", "goal and four terms": TERMS.format(reward), "reward": reward}
    agents = {
        name: loaded.agent(planner=CEM(num_iterations=3), objective=parse_objective(text))
        for name, text in texts.items()
    }
    seconds: dict[str, list[float]] = {name: [] for name in agents}
    for _ in range(5):
        for name, agent in agents.items():
            agent.reset(env.goal_observation(), 6)
            began = perf_counter()
            agent.act(obs)
            seconds[name].append((perf_counter() - began) / 16)
    for name, each in seconds.items():
        part = median(each) / median(seconds["goal"])
        print(f"{name:<20} {median(each) * 1000:.2f} ms a plan, {part:.3f} of the goal's")


if __name__ == "__main__":
    main()
