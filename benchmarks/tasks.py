"""The tasks that benchmarks plan, drawn as `jepawm eval` draws them, and the command of a row."""

import sys
from pathlib import Path

from jepawm.contracts import Env
from jepawm.hub.load import LoadedModel
from jepawm.protocol import Protocol, Split
from jepawm.runs.evaluate import TaskRules
from jepawm.runs.evaluate import find_tasks as draw
from jepawm.types import Task


def find_tasks(
    loaded: LoadedModel,
    *,
    protocol: Protocol,
    num_tasks: int,
    seed: int,
    split: Split,
    data_root: Path | None,
) -> tuple[Env, list[Task]]:
    """Return a model's environment, and tasks of it: of recorded behaviour where it has any."""
    env = loaded.make_env()
    rules = TaskRules(num_tasks=num_tasks, seed=seed, split=split, data_root=data_root)
    return env, draw(loaded.experiment, env, protocol=protocol, rules=rules)


def command() -> str:
    """Return the command line of this process, without the folders of this machine."""
    script = "/".join(Path(sys.argv[0]).parts[-2:])
    return " ".join(["python", script, *(part.rsplit("/", 1)[-1] for part in sys.argv[1:])])
