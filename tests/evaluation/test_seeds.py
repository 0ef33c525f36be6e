"""Random numbers of a task follow from its number, not from the tasks beside it."""

import numpy as np
import pytest
import torch

from jepawm.evaluation.seeds import reseed, row_seed


def test_a_row_has_a_stream_of_its_own_for_each_task():
    streams = [("random", 0), ("oracle", 0), ("model", 0), ("model", 3)]
    found = [row_seed(name, seed=5, task=task) for name, task in streams]
    words = np.random.SeedSequence(5).generate_state(3, np.uint64).tolist()
    third = np.random.SeedSequence(5, spawn_key=(3,)).generate_state(3, np.uint64).tolist()
    assert found == [word >> 1 for word in [*words, third[2]]]
    own = {row_seed(name, seed=5, task=task) for name in ("mine", "yours") for task in (0, 1)}
    assert len(own | set(found)) == 8


class Single:
    """An agent of somebody else, with one stream of numbers."""

    def reset(self, goal, num_steps=None):
        """Do nothing."""

    def act(self, obs):
        """Do nothing."""
        return torch.zeros(1, 1)

    def reseed(self, seed):
        """Keep the seed."""
        self.seeds = seed


class Many(Single):
    """An agent with a stream for each task."""

    def reseed_tasks(self, seeds):
        """Keep the seeds."""
        self.seeds = seeds


@pytest.mark.parametrize("row", ["model", "mine"])
def test_agents_are_given_what_they_take(row: str):
    single, many = Single(), Many()
    for agent in (single, many):
        reseed(agent, row, seed=1, tasks=range(4, 6))
    wanted = [row_seed(row, seed=1, task=task) for task in (4, 5)]
    assert single.seeds == wanted[0]
    assert many.seeds == wanted
