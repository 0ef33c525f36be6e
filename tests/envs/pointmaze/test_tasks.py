"""Starts and goals of PointMaze: the reference's draws, determinism, refusals."""

import math

import numpy as np
import pytest

from jepawm.envs.pointmaze.dynamics import PointMazePhysics
from jepawm.envs.pointmaze.tasks import pointmaze_states, sample_pointmaze_tasks, start_goal
from jepawm.errors import UserError


def test_draws_equal_the_reference_for_seed_0():
    start, goal = start_goal(0)
    np.testing.assert_allclose(start, [1.63772675, 2.8186098, 4.84644001, -1.21832878], atol=1e-8)
    np.testing.assert_allclose(goal, [2.5584851, 1.87512679, 0.71123651, 4.44855346], atol=1e-8)


def test_all_golden_draws(golden_dir):
    with np.load(golden_dir / "pointmaze_dynamics.npz") as case:
        drawn = [np.concatenate(start_goal(int(seed))) for seed in case["start_goal_seeds"]]
        np.testing.assert_allclose(np.stack(drawn), case["start_goal"], atol=1e-12)


def test_starts_lie_in_the_u_and_none_is_solved():
    tasks = sample_pointmaze_tasks(0, num_tasks=300)
    places = np.array([task.start[:2] for task in tasks] + [task.goal[:2] for task in tasks])
    x, y = places.T
    inside_the_wall = (x > 1.1) & (x < 2.5) & (y < 2.5)
    assert not inside_the_wall.any()
    assert ((x > 1.1) & (x < 2.5)).any()
    assert min(math.dist(task.start[:2], task.goal[:2]) for task in tasks) >= 0.5
    far = PointMazePhysics(success_distance=2.0)
    for task in sample_pointmaze_tasks(0, num_tasks=20, physics=far):
        assert math.dist(task.start[:2], task.goal[:2]) >= 2.0


def test_same_seed_same_tasks_and_longer_lists_begin_alike():
    tasks = sample_pointmaze_tasks(3, num_tasks=20)
    assert tasks == sample_pointmaze_tasks(3, num_tasks=20)
    assert tasks[:5] == sample_pointmaze_tasks(3, num_tasks=5)
    assert tasks != sample_pointmaze_tasks(4, num_tasks=20)


def test_bad_tasks_are_refused():
    good = (1.0, 1.0, 0.0, 0.0)
    for bad in (good[:2], (1.0, 1.0, 0.0, float("inf"))):
        with pytest.raises(UserError, match=r"the start of task 1 is .*4 finite numbers"):
            pointmaze_states([good, bad], "the start")
    with pytest.raises(UserError, match="the goal of task 0 is outside"):
        pointmaze_states([(5.0, 1.0, 0.0, 0.0)], "the goal")
    with pytest.raises(UserError, match="num_tasks = 0"):
        sample_pointmaze_tasks(0, num_tasks=0)
