"""PointMazeBatch: exact states, success, simulation, Gymnasium, refusals."""

import sys
import warnings

import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env

pytest.importorskip("mujoco", reason="PointMaze needs the extra 'mujoco'")

from jepawm.contracts import Simulator
from jepawm.envs import ENVIRONMENTS
from jepawm.envs.gymnasium.adapter import GymEnv
from jepawm.envs.pointmaze.env import PointMazeBatch
from jepawm.errors import UserError
from jepawm.types import Task

REST = (0.8, 0.8, 0.0, 0.0)


def rolled(batch, tasks, actions):
    batch.reset(tasks)
    states = [batch.states()]
    for t in range(actions.shape[1]):
        batch.step(actions[:, t])
        states.append(batch.states())
    return np.stack(states, axis=1)


def test_it_is_a_batched_environment_of_the_registry():
    assert ENVIRONMENTS.get("pointmaze") is PointMazeBatch
    assert isinstance(PointMazeBatch(), Simulator)


@pytest.mark.usefixtures("opengl")
def test_rolling_to_the_goal_succeeds():
    batch = PointMazeBatch()
    batch.reset([Task(start=REST, goal=(0.8, 2.0, 0.0, 0.0))])
    assert not batch.success()[0]
    for _ in range(12):
        batch.step(np.array([[0.0, 0.2]]))
    assert batch.states()[0, 1] > 1.5
    assert batch.success()[0]


@pytest.mark.usefixtures("opengl")
def test_success_is_strictly_nearer_than_the_distance():
    batch = PointMazeBatch()
    goals = [(0.8, 1.29, 5.0, 0.0), (0.8, 1.31, 0.0, 0.0)]
    batch.reset([Task(start=REST, goal=goal) for goal in goals])
    assert batch.success().tolist() == [True, False]


@pytest.mark.usefixtures("opengl")
def test_set_state_continues_a_replay_bit_for_bit():
    batch = PointMazeBatch()
    tasks = batch.sample_tasks(0, num_tasks=6)
    actions = np.random.default_rng(0).normal(0, 1, (6, 20, 2))
    states = rolled(batch, tasks, actions)
    np.testing.assert_array_equal(states[:, 0], [task.start for task in tasks])
    middle = [Task(start=tuple(state), goal=REST) for state in states[:, 9].tolist()]
    np.testing.assert_array_equal(rolled(PointMazeBatch(), middle, actions[:, 9:]), states[:, 9:])


@pytest.mark.usefixtures("opengl")
def test_simulate_equals_stepping_and_changes_nothing():
    batch = PointMazeBatch()
    tasks = batch.sample_tasks(1, num_tasks=3)
    actions = np.random.default_rng(0).normal(0, 1, (3, 4, 8, 2)).astype(np.float32)
    batch.reset(tasks)
    simulated = batch.simulate(actions)
    np.testing.assert_array_equal(batch.states(), [task.start for task in tasks])
    for candidate in range(4):
        stepped = rolled(batch, tasks, actions[:, candidate])[:, 1:]
        np.testing.assert_array_equal(simulated[:, candidate], stepped)


@pytest.mark.usefixtures("opengl")
def test_observations_and_distances():
    batch = PointMazeBatch(96)
    tasks = batch.sample_tasks(0, num_tasks=3)
    obs, goal = batch.reset(tasks), batch.goal_observation()
    for seen, states in ((obs, [task.start for task in tasks]), (goal, [t.goal for t in tasks])):
        assert seen.pixels.shape == (3, 3, 96, 96)
        assert seen.proprio is not None
        np.testing.assert_allclose(seen.proprio.numpy(), states, rtol=1e-6)
    assert not torch.equal(obs.pixels, goal.pixels)
    batch.reset([Task(start=REST, goal=REST)])
    states = np.array([[REST, (0.8, 1.1, 9.0, 9.0)]])
    np.testing.assert_allclose(batch.goal_distance(states), [[0.0, 0.09]])


@pytest.mark.usefixtures("opengl")
def test_gymnasium_accepts_the_environment():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*spec.*")  # it is not registered
        check_env(GymEnv(PointMazeBatch(), render_mode="rgb_array"))


@pytest.mark.usefixtures("opengl")
def test_actions_that_are_not_finite_are_refused():
    batch = PointMazeBatch()
    batch.reset([Task(start=REST, goal=REST)])
    with pytest.raises(UserError, match="not finite"):
        batch.step(np.full((1, 2), np.nan))


def test_bad_input_is_refused(monkeypatch):
    with pytest.raises(UserError, match="image_size = 8"):
        PointMazeBatch(8)
    batch = PointMazeBatch()
    with pytest.raises(UserError, match="reset\\(tasks\\) sets the number"):
        batch.step(np.zeros((1, 2)))
    with pytest.raises(UserError, match="give at least 1"):
        batch.reset([])
    with pytest.raises(UserError, match=r"parameters \['door_y'\]"):
        batch.reset([Task(start=REST, goal=REST, parameters={"door_y": 1.0})])
    with pytest.raises(UserError, match="shape \\(3, 1, 1, 2\\)"):
        batch.simulate(np.zeros((3, 1, 1, 2)))
    monkeypatch.setitem(sys.modules, "mujoco", None)
    with pytest.raises(UserError, match=r"jepawm\[mujoco\]"):
        PointMazeBatch()


def test_what_balls_are_beside():
    batch = PointMazeBatch()
    # the walls inside the U end at x = 1.3 and 2.3, y = 2.3 (without the ball's radius)
    places = [(0.0, 0.0), (0.6, 0.6), (1.18, 0.6), (0.6, 0.001), (1.8, 2.42), (3.0, 3.0)]
    states = np.array([[*place, 0.0, 0.0] for place in places])
    found = {name: there.tolist() for name, there in batch.beside(states).items()}
    assert not found["wall"][1]
    assert found["wall"][2]
    assert found["wall"][4]
    assert found["border"][0]
    assert not found["border"][1]
