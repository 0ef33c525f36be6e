"""`jepawm plan`: one task, planned, executed and shown."""

from pathlib import Path

import numpy as np
import torch

from jepawm.errors import UserError
from jepawm.evaluation.results import write_evaluation
from jepawm.evaluation.video import write_animation
from jepawm.hub.load import load
from jepawm.report import write_report
from jepawm.runs.evaluate import copy_record, planning_setup, run_evaluation, unused_folder


def plan_run(
    source: str,
    *,
    seed: int,
    out: Path | None,
    device: str,
    protocol: str,
    encoder_weights: str | None = None,
    data_root: Path | None = None,
) -> dict[str, object]:
    """Plan one task of the test split, execute the plan, write an animation and a report.

    Raises:
        UserError: if the model or the protocol does not exist, or the folder is taken.
    """
    torch.set_flush_denormal(True)
    name = Path(source).name
    folder = out or unused_folder(Path("runs") / f"plan-{name}-seed{seed}")
    if folder.exists() and any(folder.iterdir()):
        raise UserError(f"{folder} already holds files; choose another --out")
    loaded = load(source, device=device, encoder_weights=encoder_weights)
    rules = loaded.experiment.protocol(protocol)
    evaluation = run_evaluation(
        loaded,
        planning_setup(loaded, rules),
        protocol=rules,
        num_tasks=1,
        seed=seed,
        split="test",
        data_root=data_root,
        show_progress=False,
    )
    results, rollouts = evaluation.results, evaluation.rollouts
    write_evaluation(evaluation, folder)
    copy_record(loaded.record, folder)
    animation = write_animation(rollouts, folder / "plan.gif")
    distance = np.linalg.norm(rollouts["states"][0, -1] - rollouts["goal_states"][0])
    return {
        "env": results["env"],
        "protocol": results["protocol"],
        "seed": seed,
        "success": bool(rollouts["success"][0]),
        "final_distance": float(distance),
        "seconds_per_plan": results["seconds_per_plan"],
        "animation": animation,
        "report": write_report(folder),
    }
