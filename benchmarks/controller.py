"""Control a simulated arm in real time for minutes; append a row to results/controller.jsonl.

    python benchmarks/controller.py --rates 10 30 --minutes 10
    python benchmarks/controller.py --models RUN --rates 30 --minutes 1

The arm's pictures come late (5 ms of jitter) or never (5 %), and stop for good in the last tenth of the
time. Models whose actions or proprioception are wider than the arm's two joints get its joints, repeated;
what they plan means nothing here, when it comes is what counts. Run it on an idle machine.
"""

import argparse
import json
import resource
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from jepawm import Controller, ControllerConfig, load
from jepawm.commands import plain_commands
from jepawm.control import RobotLoop
from jepawm.engine.process import tune_process
from jepawm.real_time import Sight
from jepawm.testing.arms import ArmFaults, SimulatedArm, draw_arm
from recipes import ROOT, machine

MODELS = ("wall", "pointmaze", "pusht")
JITTER_S, DROPPED, LAST = 0.005, 0.05, 0.1


class Wide:
    """The simulated arm, with as many joints and commands as a model has."""

    def __init__(self, arm: SimulatedArm, *, width: int) -> None:
        """Take the arm and the width of the proprioception; 0: none."""
        self.arm, self.width = arm, width

    def observe(self) -> Sight | None:
        """Wait for the next picture."""
        seen = self.arm.observe()
        if seen is None:
            return None
        return Sight(picture=seen.picture, joints=repeated(seen.joints, self.width))

    def command(self, command: np.ndarray) -> None:
        """Move by the first two numbers of a command."""
        self.arm.command(np.resize(command, 2))


def main() -> None:
    """Run every model at every rate, one after the other."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", default=MODELS, help="bundled models, or runs")
    parser.add_argument("--rates", type=float, nargs="+", default=[10.0, 30.0])
    parser.add_argument("--budget", type=float, default=0.1, help="seconds for a plan")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--results", type=Path, default=ROOT / "results" / "controller.jsonl")
    options = parser.parse_args()
    tune_process()
    for name in options.models:
        for rate in options.rates:
            row = control(name, rate, seconds=60 * options.minutes, budget=options.budget)
            with options.results.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
            print(json.dumps(row))


def control(name: str, rate: float, *, seconds: float, budget: float) -> dict:
    """Control the arm with a model; returns the row."""
    loaded = load(name)
    loop = loaded.robot(fit="crop")
    mean = loaded.normalizer.proprio_mean
    width = 0 if mean is None else len(mean)
    faults = ArmFaults(jitter_s=JITTER_S, dropped=DROPPED, camera_stops_s=(1 - LAST) * seconds)
    config = ControllerConfig(rate_hz=rate, budget_s=budget)
    with Controller(loop, config=config, commands=loop.commands or bounds(loop)) as controller:
        goal = np.array([1.0, -0.6])
        controller.reset(draw_arm(goal), repeated(goal, width), command=np.zeros(loop.width))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        first = controller.run(Wide(SimulatedArm(fps=rate), width=width), seconds=min(20, seconds))
        warm = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        controller.reset(draw_arm(goal), repeated(goal, width), command=np.zeros(loop.width))
        arm = SimulatedArm(fps=rate, faults=faults)
        counts = controller.run(Wide(arm, width=width), seconds=seconds)
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "command": f"python benchmarks/controller.py --models {name} --rates {rate:g} --minutes "
        f"{seconds / 60:g} --budget {budget:g}",
        "date": datetime.now(tz=UTC).date().isoformat(),
        "machine": machine(),
        "model": name,
        "rate_hz": rate,
        "budget_s": budget,
        "seconds": seconds,
        "missed_part": counts.missed / counts.ticks,
        "still_at_end": all(one[1] == arm.commands[-1][1] for one in arm.commands[-3:]),
        "plan_p95_s_warm": first.plan_p95_s,
        "grown_mb": (after - warm) / 1024,
        "start_mb": before / 1024,
        **asdict(counts),
    }


def bounds(loop: RobotLoop):  # noqa: ANN201
    """Return wide bounds for a model of a simulator, whose actions are motions."""
    width = loop.width
    return plain_commands(
        low=[-1e6] * width, high=[1e6] * width, step=[1e6] * width, rest=["zero"] * width
    )


def repeated(joints: np.ndarray, width: int) -> np.ndarray | None:
    """Return as many joints as a model has; None: it has none."""
    return np.resize(joints, width) if width else None


if __name__ == "__main__":
    main()
