"""How episodes went: known ways, known steps, known changes."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from jepawm.evaluation.episodes import join, run_episodes
from jepawm.evaluation.evaluate import summarize
from jepawm.evaluation.motion import RowMotion
from jepawm.protocol import Protocol
from jepawm.types import Observation, Task

RULES = Protocol(name="x", horizon=2, num_action_steps=2, frameskip=2, max_env_steps=4)
TASKS = [Task(start=(0.0, 0.0), goal=(0.0, 4.0)), Task(start=(0.0, 0.0), goal=(9.0, 9.0))]


class Walker:
    """An agent that repeats the same four environment actions for all tasks."""

    def __init__(self, actions: list[tuple[float, float]]) -> None:
        self.actions = torch.tensor(actions).view(2, 4)

    def reset(self, goal: Observation | None, num_steps: int | None = None) -> None:
        self.batch, self.done = len(goal.pixels) if goal is not None else 0, 0

    def act(self, obs: Observation) -> torch.Tensor:
        self.done += 1
        return self.actions[self.done - 1].expand(self.batch, 4)


def outcome_of(env, actions: list[tuple[float, float]], rules: Protocol = RULES):
    return run_episodes(env, TASKS, agent=Walker(actions), protocol=rules)


@pytest.fixture
def seen(env):
    """Return an environment that says where places are in its proprioception."""
    env.place_columns = (0, 1)
    return env


def test_ways_steps_and_changes_are_those_of_the_actions(seen):
    motion = outcome_of(seen, [(0.0, 3.0), (0.0, 1.0), (0.0, 0.0), (0.0, 0.0)]).motion
    np.testing.assert_array_equal(motion.steps_to_success, [2.0, np.nan])
    np.testing.assert_allclose(motion.path_length, [4.0, 4.0])
    # Changes of the second number: -2, -1, 0; the mean square over both numbers and three changes.
    np.testing.assert_allclose(motion.action_change, np.sqrt((4 + 1 + 0) / 2 / 3))


def test_a_goal_that_must_be_held_is_reached_when_it_was(seen):
    actions = [(0.0, 4.0), (0.0, 4.0), (0.0, -4.0), (0.0, 0.0)]
    rules = replace(RULES, hold_steps=2)
    assert outcome_of(seen, actions).motion.steps_to_success[0] == 1
    assert outcome_of(seen, actions, rules).motion.steps_to_success[0] == 4


def test_places_that_nobody_knows_have_no_length(env):
    outcome = outcome_of(env, [(0.0, 1.0)] * 4)
    assert np.isnan(outcome.motion.path_length).all()
    assert np.isnan(join([outcome, outcome]).motion.path_length).tolist() == [True] * 4
    row = summarize({"model": outcome}, RULES)["model"].motion
    assert row == RowMotion(
        steps_to_success=4.0, path_length=None, path_over_oracle=None, action_change=0.0
    )


def test_ways_are_compared_on_tasks_that_both_solve(seen):
    straight = outcome_of(seen, [(0.0, 1.0)] * 4)
    detour = outcome_of(seen, [(1.0, 1.0), (-1.0, 1.0), (0.0, 1.0), (0.0, 1.0)])
    rows = summarize({"oracle": straight, "model": detour}, RULES)
    assert rows["model"].motion is not None
    assert rows["oracle"].motion is not None
    assert rows["model"].motion.path_over_oracle == pytest.approx(
        (2 + 2 * np.sqrt(2)) / 4, abs=1e-4
    )
    assert rows["oracle"].motion.path_over_oracle == 1.0
    assert rows["model"].motion.path_length == pytest.approx(2 + 2 * np.sqrt(2), abs=1e-4)
