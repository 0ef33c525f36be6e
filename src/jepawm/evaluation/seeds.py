"""Random numbers of an evaluation: what happens in a task depends on its number and the seed."""

import zlib
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from jepawm.contracts import Agent, Reseedable
from jepawm.evaluation.results import MODEL

_STREAMS = ("random", "oracle", MODEL)


@runtime_checkable
class ReseedableByTask(Protocol):
    """An agent with random numbers for each task of a batch (optional)."""

    def reseed_tasks(self, seeds: Sequence[int]) -> None:
        """Start the random numbers anew: what happens in a task depends on its seed alone."""
        ...


def row_seed(name: str, *, seed: int, task: int) -> int:
    """Return the seed of a row's random numbers in a task of the list."""
    if name not in _STREAMS:  # a row of one's own: its name decides
        key = (task, zlib.crc32(name.encode()))
        return int(np.random.SeedSequence(seed, spawn_key=key).generate_state(1, np.uint64)[0]) >> 1
    sequence = np.random.SeedSequence(seed, spawn_key=(task,) if task else ())
    return int(sequence.generate_state(len(_STREAMS), np.uint64)[_STREAMS.index(name)]) >> 1


def reseed(agent: Agent, name: str, *, seed: int, tasks: range) -> None:
    """Start the random numbers of an agent anew, before a batch of tasks.

    One that has but a single stream of numbers is given the seed of the first task.
    """
    if isinstance(agent, ReseedableByTask):
        agent.reseed_tasks([row_seed(name, seed=seed, task=task) for task in tasks])
    elif isinstance(agent, Reseedable):
        agent.reseed(row_seed(name, seed=seed, task=tasks.start))
