"""Motion of the ball: free motion with a known answer, walls, purity, a missing mujoco."""

import sys

import numpy as np
import pytest

pytest.importorskip("mujoco", reason="PointMaze needs the extra 'mujoco'")

from jepawm.envs.pointmaze.dynamics import (
    PointMazePhysics,
    PointMazeSimulator,
    maze_xml,
    passes_cells,
)
from jepawm.errors import UserError

MASS = 1000 * 4 / 3 * np.pi * 0.1**3


def rolled(states, actions, **options):
    simulator = PointMazeSimulator(PointMazePhysics(**options))
    path = [np.asarray(states, dtype=float)]
    for t in range(np.shape(actions)[1]):
        path.append(simulator.step(path[-1], np.asarray(actions, dtype=float)[:, t]))
    return np.stack(path, axis=1)


def free_step(state, force):
    """Return place and velocity along one axis after 5 steps of Euler, implicit in damping."""
    place, velocity = state
    for _ in range(5):
        velocity += 0.01 * (force - velocity) / (MASS + 0.01)
        place += 0.01 * velocity
    return place, velocity


@pytest.mark.parametrize("action", [0.0, 0.3, -1.0])
def test_free_motion_follows_newton(action):
    path = rolled([[0.8, 2.0, 0.5, -0.2]], [[[0.0, action]]])
    np.testing.assert_allclose(path[0, 1, [1, 3]], free_step((2.0, -0.2), 100 * action), rtol=1e-9)
    np.testing.assert_allclose(path[0, 1, [0, 2]], free_step((0.8, 0.5), 0.0), rtol=1e-9)


def test_actions_and_velocities_are_clipped():
    fast, clipped = [0.8, 1.5, 0.0, 9.0], [0.8, 1.5, 0.0, 5.0]
    path = rolled([fast, clipped], [[[0.0, 4.0]], [[0.0, 1.0]]])
    np.testing.assert_array_equal(path[0, 1], path[1, 1])


@pytest.mark.parametrize("direction", [(1.0, 0.0), (-1.0, 0.0), (0.0, -1.0)])
def test_walls_hold_the_ball_in_its_dead_end(direction):
    path = rolled([[0.8, 0.8, 0.0, 0.0]], np.tile(direction, (1, 30, 1)))
    x, y = path[0, :, 0], path[0, :, 1]
    assert x.min() > 0.3
    assert x.max() < 1.3
    assert y.min() > 0.3


def test_the_way_around_the_wall_is_open():
    up, right = np.tile([0.0, 0.5], (1, 40, 1)), np.tile([0.5, 0.0], (1, 40, 1))
    path = rolled([[0.8, 0.8, 0.0, 0.0]], np.concatenate([up, right, -up], axis=1))
    assert path[0, -1, 0] > 2.3
    assert path[0, -1, 1] < 1.5


@pytest.mark.parametrize(
    ("before", "after", "passes"),
    [
        ((0.8, 0.8), (2.8, 0.8), True),  # through the wall inside the U
        ((0.8, 1.2), (0.8, 2.8), False),  # along a corridor
        ((0.8, 2.8), (2.8, 2.8), False),  # along the next
        ((0.8, 0.8), (0.8, -1.0), True),  # out of the maze
        ((1.25, 1.85), (1.35, 1.75), False),  # around the end of the wall, where a ball is a disc
        ((1.0, 2.0), (1.0, 2.0), False),
    ],
)
def test_ways_through_walls_of_the_maze(before, after, passes: bool):
    ends = [np.array([[*place, 0.0, 0.0]]) for place in (before, after)]
    assert passes_cells(*ends).tolist() == [passes]


def test_no_roll_of_the_ball_passes_through_a_wall():
    generator = np.random.default_rng(0)
    starts = np.array([[0.8, 1.0, 0.0, 0.0], [2.8, 1.5, 0.0, 0.0]] * 20)
    steps = np.repeat(generator.uniform(-1, 1, (40, 20, 2)), 5, axis=1)
    path = rolled(starts, steps)
    places = path[:, :-1].reshape(-1, 4), path[:, 1:].reshape(-1, 4)
    assert not passes_cells(*places).any()
    assert np.abs(path[:, -1, :2] - path[:, 0, :2]).max() > 1.0


def test_a_state_tells_everything_bit_for_bit():
    states = np.random.default_rng(0).uniform([0.5, 0.5, -5, -5], [1.1, 3.1, 5, 5], (6, 4))
    actions = np.random.default_rng(1).normal(0, 1, (6, 30, 2))
    path = rolled(states, actions)
    assert (np.abs(np.diff(path[..., 2:], axis=1)) > 2).any()  # there were hits
    for row in range(6):
        single = rolled(states[row : row + 1], actions[row : row + 1])
        np.testing.assert_array_equal(single[0], path[row])
    np.testing.assert_array_equal(rolled(path[:, 11], actions[:, 11:]), path[:, 11:])


def test_contacts_of_old_and_new_engines_differ_and_free_motion_does_not():
    hit = [[0.8, 0.8, -5.0, 0.0]], np.zeros((1, 10, 2))
    assert np.abs(rolled(*hit) - rolled(*hit, old_contacts=False)).max() > 0.01
    free = [[0.8, 1.5, 0.0, 1.0]], np.zeros((1, 5, 2))
    np.testing.assert_array_equal(rolled(*free), rolled(*free, old_contacts=False))


def test_a_maze_has_a_wall_for_each_hash():
    assert maze_xml(PointMazePhysics()).count('type="box"') == 18
    assert maze_xml(PointMazePhysics(maze=("###", "#G#", "###"))).count('type="box"') == 8


def test_no_balls_at_all():
    assert PointMazeSimulator().step(np.zeros((0, 4)), np.zeros((0, 2))).shape == (0, 4)


def test_without_mujoco_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "mujoco", None)
    with pytest.raises(UserError, match=r"pip install 'jepawm\[mujoco\]'"):
        PointMazeSimulator()
