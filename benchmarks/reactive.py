"""Decisions a second of a reactive policy on one core: a proposer's best plan, anew at every step.

    python benchmarks/reactive.py wall pointmaze

One robot, one thread; an observation comes in as pixels and proprioception, an action block goes out.
The simulator is not timed. A row for each model goes to results/reactive.jsonl: median and quartiles
of the wall time of a decision, encoding and checks included.
"""

import argparse
import json
import platform
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from tasks import command

from jepawm.engine.process import tune_process
from jepawm.hub.load import load
from jepawm.planning.presets import find_preset

RESULTS = Path(__file__).parents[1] / "results" / "reactive.jsonl"


def main() -> None:
    """Append a row for each model."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sources", nargs="+", help="bundled checkpoints or runs with a proposer")
    parser.add_argument("--num-decisions", type=int, default=1000)
    options = parser.parse_args()
    tune_process()
    torch.set_num_threads(1)
    for source in options.sources:
        times = decide(source, num_decisions=options.num_decisions)
        low, median, high = np.quantile(1e3 * times, [0.25, 0.5, 0.75])
        row = {
            "source": Path(source).name,
            "decisions_per_second": 1e3 / median,
            "milliseconds": {"quartile": low, "median": median, "third_quartile": high},
            "num_decisions": len(times),
            "threads": 1,
            "command": command(),
            "date": datetime.now(tz=UTC).date().isoformat(),
            "machine": platform.processor() or platform.machine(),
        }
        print(json.dumps(row))
        with RESULTS.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


def decide(source: str, *, num_decisions: int) -> np.ndarray:
    """Return the wall seconds of each decision, after 50 that are not counted."""
    loaded = load(source)
    experiment = loaded.experiment
    frameskip = experiment.data.frameskip
    planner = find_preset("direct", frameskip=frameskip)
    agent = loaded.agent(
        protocol=replace(experiment.protocols[0], num_action_steps=1), planner=planner
    )
    env = loaded.make_env()
    obs = env.reset(env.sample_tasks(0, num_tasks=1))
    agent.reset(env.goal_observation())
    times = []
    for _ in range(50 + num_decisions):
        began = perf_counter()
        block = agent.act(obs)
        times.append(perf_counter() - began)
        for actions in np.split(block.numpy(), frameskip, axis=1):
            obs = env.step(actions)
    return np.array(times[50:])


if __name__ == "__main__":
    main()
