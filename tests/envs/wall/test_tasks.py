"""Starts and goals of Wall: the reference's draws, determinism, refusals."""

import numpy as np
import pytest

from jepawm.envs.wall.dynamics import WallGeometry
from jepawm.envs.wall.tasks import (
    sample_wall_tasks,
    start_goal,
    start_goal_ranges,
    wall_layouts,
    wall_positions,
)
from jepawm.errors import UserError
from jepawm.types import Task


def test_ranges_of_the_paper():
    (left, right), y_range = start_goal_ranges()
    np.testing.assert_allclose([*left, *right, *y_range], [7.4, 25.6, 38.4, 56.6, 7.4, 56.6])


def test_draws_equal_the_reference_for_seed_0():
    x_ranges, y_range = start_goal_ranges()
    drawn = start_goal(0, x_ranges=x_ranges, y_range=y_range)
    np.testing.assert_allclose(drawn, [51.41644647, 37.0559581, 17.38840577, 34.2082526], atol=1e-8)


def test_all_golden_draws(golden_dir):
    x_ranges, y_range = start_goal_ranges()
    with np.load(golden_dir / "wall_start_goal.npz") as case:
        drawn = [
            start_goal(int(seed), x_ranges=x_ranges, y_range=y_range) for seed in case["seeds"]
        ]
        np.testing.assert_allclose(np.stack(drawn), case["start_goal"], atol=1e-9)


def test_same_seed_same_tasks_and_longer_lists_begin_alike():
    tasks = sample_wall_tasks(3, num_tasks=20)
    assert tasks == sample_wall_tasks(3, num_tasks=20)
    assert tasks[:5] == sample_wall_tasks(3, num_tasks=5)
    assert tasks != sample_wall_tasks(4, num_tasks=20)
    assert len({task.start for task in tasks}) == 20


def test_start_and_goal_lie_in_different_rooms_also_with_another_wall():
    for wall_x in (32.0, 20.0):
        tasks = sample_wall_tasks(0, num_tasks=50, wall_x=wall_x, door_y=40.0)
        for task in tasks:
            assert (task.start[0] < wall_x) != (task.goal[0] < wall_x)
            assert task.parameters == {"wall_x": wall_x, "door_y": 40.0}
        starts_left = sum(task.start[0] < wall_x for task in tasks)
        assert 10 < starts_left < 40


def test_tasks_that_start_solved_are_left_out():
    near = WallGeometry(success_distance=30.0)
    for task in sample_wall_tasks(0, num_tasks=50, geometry=near):
        assert np.hypot(task.start[0] - task.goal[0], task.start[1] - task.goal[1]) >= 30.0


def test_layouts_default_to_the_paper():
    tasks = [
        Task(start=(10.0, 10.0), goal=(50.0, 50.0)),
        Task(start=(10.0, 10.0), goal=(50.0, 50.0), parameters={"door_y": 12.0}),
    ]
    layout = wall_layouts(tasks)
    assert layout.wall_x.tolist() == [32.0, 32.0]
    assert layout.door_y.tolist() == [30.0, 12.0]


def test_bad_tasks_are_refused():
    with pytest.raises(UserError, match="unknown parameters \\['door'\\]"):
        wall_layouts([Task(start=(1.0, 1.0), goal=(1.0, 1.0), parameters={"door": 1.0})])
    for position in ((1.0,), (1.0, float("nan")), (1.0, 66.0), (-1.0, 3.0)):
        with pytest.raises(UserError, match="the start of task 1"):
            wall_positions([(10.0, 10.0), position], "the start")
    with pytest.raises(UserError, match=r"between 13\.8 and 50\.2"):
        sample_wall_tasks(0, num_tasks=1, wall_x=60.0)
    with pytest.raises(UserError, match="num_tasks = 0"):
        sample_wall_tasks(0, num_tasks=0)
    with pytest.raises(UserError, match="seed = -1"):
        sample_wall_tasks(-1, num_tasks=1)
