"""Many copies of Metaworld: protocol, exact states, tasks, bad input."""

import multiprocessing
from dataclasses import replace

import numpy as np
import pytest
import torch

pytest.importorskip("metaworld", reason="needs the extra 'metaworld'")

from jepawm.contracts import Simulator
from jepawm.envs import ENVIRONMENTS
from jepawm.envs.metaworld.env import MetaworldBatch
from jepawm.errors import UserError


@pytest.fixture(scope="module")
def env():
    return MetaworldBatch(16)


@pytest.fixture(scope="module")
def tasks(env):
    return env.sample_tasks(0, num_tasks=3)


def actions(*shape, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (*shape, 4))


def replay(tasks):
    """Roll 10 actions in a process of its own; returns frames and states as bytes."""
    env = MetaworldBatch(16, num_threads=1)
    frames = [env.reset(tasks)]
    frames += [env.step(one) for one in actions(10, len(tasks))]
    pixels = b"".join(obs.pixels.numpy().tobytes() for obs in frames)
    return pixels, env.states().tobytes()


def test_names_lead_to_tasks(env):
    assert isinstance(env, Simulator)
    assert ENVIRONMENTS.get("metaworld_reach")(image_size=16).task == "reach"
    assert ENVIRONMENTS.get("metaworld_reach_wall")(image_size=16).task == "reach-wall"
    assert ENVIRONMENTS.get("metaworld:drawer-open")(image_size=16).task == "drawer-open"


def test_tasks_are_drawn_by_seed_and_a_short_list_begins_a_long_one(env, tasks):
    assert env.sample_tasks(0, num_tasks=2) == tasks[:2]
    assert env.sample_tasks(1, num_tasks=1)[0] != tasks[0]
    with pytest.raises(UserError, match="at least 1 task"):
        env.sample_tasks(0, num_tasks=0)


@pytest.mark.usefixtures("opengl")
def test_goals_are_solved_and_starts_are_not(env, tasks):
    obs = env.reset(tasks)
    assert obs.pixels.shape == (3, 3, 16, 16)
    assert not env.success().any()
    goal = env.goal_observation()
    env.reset([replace(task, start=task.goal) for task in tasks])
    assert env.success().all()
    assert torch.equal(goal.proprio, env.goal_observation().proprio)
    assert (env.goal_distance(env.states()[:, None]) < 0.05**2).all()


@pytest.mark.usefixtures("opengl")
def test_a_state_that_is_read_and_set_goes_on_bit_for_bit(env, tasks):
    env.reset(tasks)
    sequence = actions(12, 3)
    for one in sequence[:6]:
        obs = env.step(one)
    middle = env.states()
    for one in sequence[6:]:
        end = env.step(one)
    states = env.states()
    again = env.reset([replace(t, start=tuple(s)) for t, s in zip(tasks, middle, strict=True)])
    assert torch.equal(again.pixels, obs.pixels)
    assert torch.equal(again.proprio, obs.proprio)
    for one in sequence[6:]:
        last = env.step(one)
    assert np.array_equal(env.states(), states)
    assert torch.equal(last.pixels, end.pixels)


@pytest.mark.usefixtures("opengl")
@pytest.mark.parametrize("num_threads", [1, 2])
def test_simulate_is_step_whatever_the_number_of_threads(tasks, num_threads):
    env = MetaworldBatch(16, num_threads=num_threads)
    env.reset(tasks)
    candidates = actions(3, 2, 5, seed=1)  # [B, K, T, a]
    before = env.states()
    states = env.simulate(candidates)
    assert np.array_equal(env.states(), before)
    for k in range(2):
        env.reset(tasks)
        for t in range(5):
            env.step(candidates[:, k, t])
            assert np.array_equal(env.states(), states[:, k, t])


@pytest.mark.usefixtures("opengl")
def test_two_processes_see_what_one_sees(tasks):
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        first, second = pool.map(replay, [tasks, tasks])
    assert first == second == replay(tasks)


@pytest.mark.usefixtures("opengl")
def test_bad_input_is_refused(env, tasks):
    env.reset(tasks)
    with pytest.raises(UserError, match=r"shape \(2, 4\), but there are 3 copies"):
        env.step(np.zeros((2, 4)))
    with pytest.raises(UserError, match="not finite"):
        env.simulate(np.full((3, 1, 1, 4), np.nan))
    with pytest.raises(UserError, match="no tasks"):
        env.reset([])
    with pytest.raises(UserError, match="task 1 has the parameters"):
        env.reset([tasks[0], replace(tasks[1], parameters={"door": 1.0})])
    with pytest.raises(UserError, match="task 0 is no task of Metaworld's reach"):
        env.reset([replace(tasks[0], start=(0.0, 1.0))])
    with pytest.raises(UserError, match="image_size = 0"):
        MetaworldBatch(0)
