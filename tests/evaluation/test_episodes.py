"""When an episode counts: at its end or at any time, and for how many steps the goal must hold."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from jepawm.evaluation.episodes import run_episodes
from jepawm.protocol import LEWM, Protocol
from jepawm.types import Observation, Task


class Script:
    """An environment in which each copy is at its goal at the steps that its task names."""

    action_dim, proprio_dim, image_size = 1, 0, 8

    def sample_tasks(self, seed: int, *, num_tasks: int) -> list[Task]:
        return [Task(start=(), goal=(float(seed),))] * num_tasks

    def reset(self, tasks: Sequence[Task]) -> Observation:
        self.tasks, self.now = tasks, 0
        return self.goal_observation()

    def goal_observation(self) -> Observation:
        return Observation(pixels=torch.zeros(len(self.tasks), 3, 8, 8, dtype=torch.uint8))

    def step(self, actions: np.ndarray) -> Observation:
        self.now += 1
        return self.goal_observation()

    def success(self) -> np.ndarray:
        return np.array([self.now in task.goal for task in self.tasks], dtype=np.bool_)


class Idle:
    """An agent that does nothing, in blocks of two steps."""

    def reset(self, goal: Observation | None, num_steps: int | None = None) -> None:
        self.batch = len(goal.pixels) if goal is not None else 0

    def act(self, obs: Observation) -> torch.Tensor:
        return torch.zeros(self.batch, 2)


TASKS = [Task(start=(), goal=steps) for steps in ((3.0,), (3.0, 4.0), (5.0, 6.0), (2.0, 4.0, 6.0))]
RULES = Protocol(name="x", horizon=3, num_action_steps=3, frameskip=2, max_env_steps=6)


@pytest.mark.parametrize(
    ("success", "hold_steps", "expected"),
    [
        ("any", 1, [True, True, True, True]),
        ("end", 1, [False, False, True, True]),
        ("any", 2, [False, True, True, False]),
        ("end", 2, [False, False, True, False]),
        ("any", 3, [False, False, False, False]),
    ],
)
def test_the_goal_holds_as_long_as_the_protocol_asks(success, hold_steps: int, expected):
    rules = replace(RULES, success=success, hold_steps=hold_steps)
    outcome = run_episodes(Script(), TASKS, agent=Idle(), protocol=rules)
    assert outcome.success(rules).tolist() == expected


def test_the_protocol_of_leworldmodel():
    assert (LEWM.goal_steps, LEWM.max_env_steps, LEWM.success) == (25, 50, "any")
    assert LEWM.horizon * LEWM.frameskip == 25
