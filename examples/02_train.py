"""Train a world model on Wall with another loss, then measure it; a few seconds, so it is too short to be useful.

`python examples/02_train.py 1200` trains as long as the recipe does.
"""

import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from jepawm.planning.cem import CEM
from jepawm.recipes.wall import WALL
from jepawm.runs import TaskRules, evaluate_run, train_run

num_steps = int(sys.argv[1]) if len(sys.argv) > 1 else 20
data = replace(WALL.data, num_episodes=1920 if num_steps > 100 else 64)
experiment = replace(
    WALL,
    data=data,
    loss=replace(WALL.loss, rollout_steps=3),  # one field of one part
    optim=replace(WALL.optim, num_steps=num_steps, batch_size=64),
)
with tempfile.TemporaryDirectory() as folder:
    run = Path(folder) / "run"
    figures = train_run(
        experiment, out=run, data_root=Path(folder) / "data", device="cpu", resume=False
    )
    print(f"{figures.steps} steps, linear probe off by {figures.probe_error:.1f} px")
    results = evaluate_run(
        str(run),
        TaskRules(num_tasks=8, split="val"),
        planner=CEM(num_samples=64, num_elites=8, num_iterations=4),
    ).results
    for name, row in results.rows.items():
        print(name, row.success)
    print("seconds per plan", results.seconds_per_plan)
