"""The tasks that benchmarks plan, drawn as `jepawm eval` draws them, and the command of a row."""

import sys
from pathlib import Path

from jepawm.contracts import Simulator
from jepawm.evaluation.tasks import Split, draw_tasks
from jepawm.hub.load import LoadedModel
from jepawm.protocol import Protocol
from jepawm.runs.evaluate import build_env, recorded_tasks
from jepawm.types import Task


def find_tasks(
    loaded: LoadedModel,
    *,
    protocol: Protocol,
    num_tasks: int,
    seed: int,
    split: Split,
    data_root: Path | None,
) -> tuple[Simulator, list[Task]]:
    """Return a model's environment, and tasks of it: of recorded behaviour where it has any.

    Raises:
        UserError: if the recordings are not below the data root (None: the default one).
    """
    experiment = loaded.experiment
    env = build_env(experiment.env, image_size=experiment.data.image_size)
    recorded = recorded_tasks(
        experiment,
        protocol=protocol,
        num_tasks=num_tasks,
        seed=seed,
        split=split,
        data_root=data_root,
    )
    if recorded is not None:
        return env, recorded
    return env, draw_tasks(env, num_tasks=num_tasks, seed=seed, split=split)


def command() -> str:
    """Return the command line of this process, without the folders of this machine."""
    script = "/".join(Path(sys.argv[0]).parts[-2:])
    return " ".join(["python", script, *(part.rsplit("/", 1)[-1] for part in sys.argv[1:])])
