"""Wall under Gymnasium: the official checker, exact reset, the vectorised version."""

import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from jepawm.envs.wall.env import WallBatch
from jepawm.envs.wall.gym import WallEnv, WallVectorEnv
from jepawm.errors import UserError
from jepawm.types import Task


def test_gymnasium_accepts_the_environment():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*spec.*")  # it is not registered
        check_env(WallEnv(render_mode="rgb_array"))


def test_reset_puts_the_task_exactly():
    env = WallEnv(65)
    task = Task(start=(20.123456789012345, 30.0), goal=(44.0, 31.0))
    obs, info = env.reset(options={"task": task})
    np.testing.assert_array_equal(info["state"], task.start)
    assert info["success"] is False
    np.testing.assert_allclose(obs["proprio"], task.start, rtol=1e-6)
    np.testing.assert_array_equal(env.goal_observation()["proprio"], task.goal)
    for _ in range(10):
        _, reward, terminated, truncated, info = env.step(np.array([1.0, 0.0]))
        assert (reward, terminated, truncated) == (0.0, False, False)
    assert info["success"] is True
    np.testing.assert_allclose(info["state"], (40.123456789012345, 30.0))


def test_a_seed_draws_the_sampler_s_first_task():
    _, info = WallEnv().reset(seed=7)
    np.testing.assert_array_equal(info["state"], WallBatch().sample_tasks(7, num_tasks=1)[0].start)


def test_without_seed_each_episode_has_another_task():
    env = WallEnv()
    states = [env.reset()[1]["state"] for _ in range(3)]
    assert (states[0] != states[1]).all()
    assert (states[1] != states[2]).all()


def test_a_time_limit_can_be_wrapped_around():
    env = gymnasium.wrappers.TimeLimit(WallEnv(), max_episode_steps=2)
    env.reset(seed=0)
    assert env.step(np.zeros(2))[3] is False
    assert env.step(np.zeros(2))[3] is True


def test_render_shows_the_last_image_only_when_asked():
    env = WallEnv(render_mode="rgb_array")
    obs, _ = env.reset(seed=0)
    np.testing.assert_array_equal(env.render(), obs["pixels"].transpose(1, 2, 0))
    silent = WallEnv()
    silent.reset(seed=0)
    assert silent.render() is None


def test_vectorised_equals_single():
    many = WallVectorEnv(6, door_y=20.0)
    obs, info = many.reset(seed=3)
    assert obs in many.observation_space
    tasks = WallBatch(door_y=20.0).sample_tasks(3, num_tasks=6)
    singles = [WallEnv(door_y=20.0) for _ in tasks]
    for row, (env, task) in enumerate(zip(singles, tasks, strict=True)):
        one, _ = env.reset(options={"task": task})
        np.testing.assert_array_equal(one["pixels"], obs["pixels"][row])
    generator = np.random.default_rng(0)
    for _ in range(15):
        actions = generator.normal(0, 1, (6, 2))
        obs, rewards, terminated, truncated, info = many.step(actions)
        assert [values.any() for values in (rewards, terminated, truncated)] == [False] * 3
        for row, env in enumerate(singles):
            one, _, _, _, single = env.step(actions[row])
            np.testing.assert_array_equal(info["state"][row], single["state"])
            assert info["success"][row] == single["success"]
            np.testing.assert_array_equal(one["proprio"], obs["proprio"][row])
    assert many.goal_observation()["pixels"].shape == (6, 3, 64, 64)


def test_thousands_of_copies_step_at_once():
    many = WallVectorEnv(2000, image_size=65)
    obs, _ = many.reset(seed=0)
    obs, _, _, _, info = many.step(many.action_space.sample())
    assert obs["pixels"].shape == (2000, 3, 65, 65)
    assert np.isfinite(info["state"]).all()


def test_bad_options_are_refused():
    task = Task(start=(20.0, 30.0), goal=(44.0, 31.0))
    with pytest.raises(UserError, match=r"\['tsak'\] are not understood"):
        WallEnv().reset(options={"tsak": task})
    with pytest.raises(UserError, match="other than jepawm"):
        WallEnv().reset(options={"task": (1.0, 2.0)})
    with pytest.raises(UserError, match="1 tasks for 2 copies"):
        WallVectorEnv(2).reset(options={"tasks": [task]})
