"""Draw the tasks of an evaluation, and name a list of tasks by its hash."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Literal

import numpy as np

from jepawm.contracts import Simulator
from jepawm.errors import UserError
from jepawm.types import Task

Split = Literal["val", "test"]

_SPLITS: dict[Split, int] = {"val": 0, "test": 1}


def draw_tasks(env: Simulator, *, num_tasks: int, seed: int, split: Split) -> list[Task]:
    """Draw the tasks of a split; the same numbers give the same list.

    Raises:
        UserError: if there are no tasks or the seed is negative.
    """
    if num_tasks < 1:
        raise UserError(f"number of episodes = {num_tasks}; give at least 1")
    return env.sample_tasks(task_seed(seed, split), num_tasks=num_tasks)


def task_seed(seed: int, split: Split) -> int:
    """Return the environment's seed for a split: below 2**31 for `val`, from there for `test`.

    So no two seeds make the two splits coincide.

    Raises:
        UserError: if the seed is negative or the split is unknown.
    """
    if seed < 0:
        raise UserError(f"seed = {seed}; give 0 or more")
    if split not in _SPLITS:
        raise UserError(f"unknown split {split!r}; choose val or test")
    word = int(np.random.SeedSequence([seed, _SPLITS[split]]).generate_state(1)[0])
    return (word >> 1) | (_SPLITS[split] << 31)


def hash_tasks(tasks: Sequence[Task]) -> str:
    """Return the SHA-256 of the tasks' canonical JSON: sorted keys, no spaces, full precision."""
    text = json.dumps(
        [asdict(task) for task in tasks], sort_keys=True, separators=(",", ":"), allow_nan=False
    )
    return hashlib.sha256(text.encode()).hexdigest()
