"""Any Gymnasium environment as a batch: repeated episodes are exact, goals can be reached."""

import os
import pickle
import subprocess
import sys
from functools import partial

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces

from jepawm.contracts import Simulator
from jepawm.envs import ENVIRONMENTS, build_env
from jepawm.envs.gymnasium.batch import GymnasiumBatch
from jepawm.envs.gymnasium.goals import RandomGoals
from jepawm.errors import UserError


class Slider(gymnasium.Env):
    """A bright column slides over 32 places; the wind at each step depends on the seed."""

    observation_space = spaces.Box(-np.inf, np.inf, (1,), np.float64)
    render_mode = "rgb_array"

    def __init__(self, action_space=None, limit=16.0):
        self.action_space = action_space or spaces.Box(-2.0, 4.0, (1,), np.float32)
        self.limit = limit

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place = self.np_random.uniform(-4, 4)
        return np.array([self.place]), {}

    def step(self, action):
        push = float(np.ravel(action)[0]) * 0.3
        self.place += push + self.np_random.normal(0.0, 0.01)
        return np.array([self.place]), 0.0, abs(self.place) >= self.limit, False, {}

    def render(self):
        frame = np.zeros((32, 32, 3), dtype=np.uint8)
        frame[:, int(np.clip(self.place + 16, 0, 31))] = 255
        return frame


def build(**settings):
    return GymnasiumBatch(32, make=partial(Slider, **settings), goals=RandomGoals(num_steps=12))


def test_tasks_come_from_the_seed_and_their_goals_are_seen():
    env = build()
    assert isinstance(env, Simulator)
    tasks = env.sample_tasks(0, num_tasks=3)
    assert env.sample_tasks(0, num_tasks=2) == tasks[:2]
    obs = env.reset(tasks)
    assert obs.proprio is None
    assert obs.pixels.shape == (3, 3, 32, 32)
    goal = env.goal_observation()
    again = build()
    again.reset(tasks)
    assert torch.equal(goal.pixels, again.goal_observation().pixels)
    assert not env.success().any()
    distance = env.goal_distance(env.states()[:, None])[:, 0]
    columns = [int(frame[0, 0].float().argmax()) for frame in (*obs.pixels, *goal.pixels)]
    moved = np.abs(np.subtract(columns[:3], columns[3:]))
    np.testing.assert_allclose(moved, np.sqrt(distance), atol=1.0)


def test_actions_from_minus_1_to_1_cover_the_bounds():
    env = build()
    env.reset(env.sample_tasks(0, num_tasks=1))
    places = [env.states()[0, 0]]
    for action in (-1.0, 0.0, 1.0, 5.0):
        env.step(np.array([[action]]))
        places.append(env.states()[0, 0])
    np.testing.assert_allclose(np.diff(places), [-0.6, 0.3, 1.2, 1.2], atol=0.05)


def test_simulate_repeats_the_episode_exactly_and_changes_nothing():
    env = build()
    env.reset(env.sample_tasks(0, num_tasks=2))
    generator = np.random.default_rng(0)
    for actions in generator.uniform(-1, 1, (3, 2, 1)):
        env.step(actions)
    candidates = generator.uniform(-1, 1, (2, 2, 5, 1))  # [B, K, T, a]
    before = env.states()
    states = env.simulate(candidates)
    assert np.array_equal(env.states(), before)
    for t in range(5):
        env.step(candidates[:, 1, t])
        assert np.array_equal(env.states(), states[:, 1, t])


def test_the_way_to_the_goal_succeeds_and_an_episode_that_ended_stays():
    env = build(limit=6.0)
    tasks = env.sample_tasks(3, num_tasks=4)
    env.reset(tasks)
    choices = np.linspace(-1.0, 0.5, 9)[:, None]  # moves from -0.6 to 0.75
    for _ in range(30):  # greedy on the true dynamics
        states = env.simulate(np.tile(choices[None, :, None], (4, 1, 1, 1)))[:, :, 0]
        env.step(choices[env.goal_distance(states).argmin(1)])
        if env.success().any():
            break
    assert env.success().any()
    for _ in range(40):
        env.step(np.ones((4, 1)))
    stayed = env.states()
    env.step(-np.ones((4, 1)))
    assert np.array_equal(env.states(), stayed)


def test_choices_are_the_highest_number():
    env = build(action_space=spaces.Discrete(2, start=3))
    assert env.action_dim == 2
    env.reset(env.sample_tasks(0, num_tasks=1))
    before = env.states()[0, 0]
    env.step(np.array([[0.9, -0.4]]))
    middle = env.states()[0, 0]
    env.step(np.array([[-0.9, -0.4]]))
    np.testing.assert_allclose([middle - before, env.states()[0, 0] - middle], [0.9, 1.2], atol=0.1)


def test_bad_input_is_refused():
    with pytest.raises(UserError, match="MultiBinary"):
        build(action_space=spaces.MultiBinary(2))
    with pytest.raises(UserError, match="Gymnasium does not make 'NoSuchThing-v0'"):
        ENVIRONMENTS.get("gym:NoSuchThing-v0")(image_size=32)
    env = build()
    with pytest.raises(UserError, match="no tasks"):
        env.reset([])
    env.reset(env.sample_tasks(0, num_tasks=2))
    with pytest.raises(UserError, match="there are 2 copies and an action has 1 numbers"):
        env.step(np.zeros((2, 3)))
    with pytest.raises(UserError, match="not finite"):
        env.step(np.full((2, 1), np.inf))


def test_cart_pole_is_an_environment_name():
    pytest.importorskip("pygame", reason="Gymnasium draws CartPole by pygame")
    builder = pickle.loads(pickle.dumps(ENVIRONMENTS.get("gym:CartPole-v1")))
    env = builder(image_size=64)
    tasks = env.sample_tasks(0, num_tasks=2)
    obs = env.reset(tasks)
    assert obs.pixels.shape == (2, 3, 64, 64)
    assert env.states().shape == (2, 4)
    moved = env.step(np.array([[1.0, 0.0], [0.0, 1.0]]))
    assert env.states()[0, 1] < 0 < env.states()[1, 1]  # velocity of the cart
    assert not torch.equal(moved.pixels, env.goal_observation().pixels)


def test_ogbench_brings_its_own_tasks():
    pytest.importorskip("ogbench", reason="needs the extra 'ogbench'")
    env = ENVIRONMENTS.get("ogbench:pointmaze-medium-v0")(image_size=64)
    tasks = env.sample_tasks(0, num_tasks=3)
    assert all(1 <= task.goal[0] <= 5 for task in tasks)
    obs = env.reset(tasks)
    assert not torch.equal(obs.pixels, env.goal_observation().pixels)
    assert not env.success().any()
    states = env.simulate(np.ones((3, 1, 4, env.action_dim)))
    for _ in range(4):
        env.step(np.ones((3, env.action_dim)))
    assert np.array_equal(states[:, 0, -1], env.states())


@pytest.mark.parametrize("name", ["no_such_module:X-v0", "a:b:X-v0", "NoSuch-v0", ":X-v0"])
def test_what_gymnasium_cannot_make_is_told(name: str):
    with pytest.raises(UserError, match=f"Gymnasium does not make '{name}'"):
        build_env(f"gym:{name}", image_size=16)


REACHER = """
from jepawm.envs import build_env

env = build_env("gym:Reacher-v5", image_size=32)
print(env.reset(env.sample_tasks(0, num_tasks=1)).pixels.float().std().item())
"""


def test_mujoco_environments_of_gymnasium_are_drawn_without_a_display():
    """In a process of its own: one that has drawn before hides a missing backend."""
    pytest.importorskip("mujoco")
    env = {k: v for k, v in os.environ.items() if k not in ("MUJOCO_GL", "DISPLAY")}
    env["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    done = subprocess.run(
        [sys.executable, "-c", REACHER], env=env, capture_output=True, text=True, check=False
    )
    if "UserError" in done.stderr:
        assert "choose another: MUJOCO_GL" in done.stderr
        pytest.skip("no OpenGL here")
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) > 1.0
    assert "Traceback" not in done.stderr  # nor at the end, when OpenGL is closed
