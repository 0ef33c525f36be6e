"""`gymnasium.make("jepawm:jepawm/Wall-v0")` and its companions."""

import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from jepawm.gym_ids import IDS
from jepawm.types import Task

SIZE = 32


@pytest.fixture(params=sorted(IDS))
def name(request: pytest.FixtureRequest) -> str:
    env = IDS[request.param][0]
    if env == "pusht":
        pytest.importorskip("pymunk")
    if env == "pointmaze":
        request.getfixturevalue("opengl")
    return request.param


def test_gymnasium_checks_one_copy_without_a_warning(name: str):
    env = gymnasium.make(f"jepawm:{name}", image_size=SIZE)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(env.unwrapped)
    env.close()


def test_many_copies_do_what_one_does(name: str):
    env = gymnasium.make(f"jepawm:{name}", image_size=SIZE, render_mode="rgb_array")
    copies = gymnasium.make_vec(f"jepawm:{name}", num_envs=2, image_size=SIZE)
    assert copies.num_envs == 2
    assert copies.single_observation_space == env.observation_space
    assert copies.single_action_space == env.action_space
    obs, _ = copies.reset(seed=3)
    assert copies.observation_space.contains(obs)
    first, info = env.reset(seed=3)
    np.testing.assert_array_equal(obs["pixels"][0], first["pixels"])
    actions = np.full((2, *env.action_space.shape), 0.5, np.float32)
    obs, rewards, terminated, truncated, many = copies.step(actions)
    one, reward, over, cut, info = env.step(actions[0])
    np.testing.assert_array_equal(obs["pixels"][0], one["pixels"])
    np.testing.assert_array_equal(many["state"][0], info["state"])
    assert (reward, over, cut) == (rewards[0], terminated[0], truncated[0]) == (0.0, False, False)
    assert env.render().shape == (SIZE, SIZE, 3)
    env.close()
    copies.close()


def test_episodes_are_cut_off_and_begin_again():
    env = gymnasium.make("jepawm:jepawm/Wall-v0", image_size=16)
    copies = gymnasium.make_vec("jepawm:jepawm/Wall-v0", num_envs=2, image_size=16)
    for _ in range(2):
        env.reset(seed=0)
        copies.reset(seed=0)
        cut, all_cut = [], []
        for _ in range(50):
            cut.append(env.step(np.zeros(2, np.float32))[3])
            all_cut.append(copies.step(np.zeros((2, 2), np.float32))[3].tolist())
        assert cut == [False] * 49 + [True]
        assert all_cut == [[False, False]] * 49 + [[True, True]]


def test_the_reward_is_1_at_the_goal():
    env = gymnasium.make("jepawm:jepawm/Wall-v0", image_size=16)
    env.reset(seed=0)
    state = env.unwrapped._env.states()[0]  # pyright: ignore[reportAttributeAccessIssue]
    there = Task(start=tuple(state.tolist()), goal=tuple(state.tolist()))
    _, info = env.reset(options={"task": there})
    assert info["success"]
    assert env.step(np.zeros(2, np.float32))[1] == 1.0


def test_vectorised_by_gymnasium_itself():
    copies = gymnasium.make_vec(
        "jepawm:jepawm/Wall-v0", num_envs=2, vectorization_mode="sync", image_size=16
    )
    obs, _ = copies.reset(seed=0)
    assert obs["pixels"].shape == (2, 3, 16, 16)
    copies.close()
