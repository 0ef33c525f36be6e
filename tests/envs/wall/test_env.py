"""WallBatch: exact states, success, simulation, refusals."""

import warnings

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env

from jepawm.envs import ENVIRONMENTS
from jepawm.envs.wall.env import WallBatch, WallEnv, WallVectorEnv
from jepawm.errors import UserError
from jepawm.types import Task


def rolled(batch, tasks, actions):
    batch.reset(tasks)
    states = [batch.states()]
    for t in range(actions.shape[1]):
        batch.step(actions[:, t])
        states.append(batch.states())
    return np.stack(states, axis=1)


def test_a_walk_through_the_door_succeeds():
    batch = WallBatch(65)
    batch.reset([Task(start=(20.0, 30.0), goal=(44.0, 31.0))])
    assert not batch.success()[0]
    for _ in range(10):
        batch.step(np.array([[1.0, 0.0]]))
    np.testing.assert_array_equal(batch.states(), [[40.0, 30.0]])
    assert batch.success()[0]  # distance sqrt(17) < 4.5


def test_success_is_strictly_nearer_than_the_distance():
    batch = WallBatch()
    goals = [(20.0, 24.4), (20.0, 24.5), (24.6, 20.0)]
    batch.reset([Task(start=(20.0, 20.0), goal=goal) for goal in goals])
    assert batch.success().tolist() == [True, False, False]


def test_goal_distance_is_squared():
    batch = WallBatch()
    batch.reset([Task(start=(10.0, 10.0), goal=(50.0, 40.0))] * 2)
    states = np.array([[[50.0, 40.0], [47.0, 44.0]]] * 2)
    np.testing.assert_array_equal(batch.goal_distance(states), [[0.0, 25.0]] * 2)


def test_set_state_continues_a_replay_bit_for_bit():
    batch = WallBatch()
    tasks = batch.sample_tasks(0, num_tasks=16)
    actions = np.random.default_rng(0).normal(0, 1, (16, 40, 2))
    states = rolled(batch, tasks, actions)
    middle = [
        Task(start=tuple(state), goal=task.goal, parameters=task.parameters)
        for state, task in zip(states[:, 17].tolist(), tasks, strict=True)
    ]
    np.testing.assert_array_equal(rolled(batch, middle, actions[:, 17:]), states[:, 17:])


def test_batch_equals_single_copies_with_own_layouts():
    tasks = WallBatch().sample_tasks(0, num_tasks=4)
    tasks += WallBatch(wall_x=24.0, door_y=45.0).sample_tasks(0, num_tasks=4)
    actions = np.random.default_rng(0).normal(0, 1, (8, 20, 2))
    together = rolled(WallBatch(), tasks, actions)
    for row, task in enumerate(tasks):
        np.testing.assert_array_equal(
            rolled(WallBatch(), [task], actions[row : row + 1])[0], together[row]
        )


def test_simulate_equals_stepping_and_changes_nothing():
    batch = WallBatch(wall_x=28.0, door_y=20.0)
    tasks = batch.sample_tasks(1, num_tasks=6)
    actions = np.random.default_rng(0).normal(0, 1, (6, 5, 12, 2)).astype(np.float32)
    batch.reset(tasks)
    simulated = batch.simulate(actions)
    np.testing.assert_array_equal(batch.states(), [task.start for task in tasks])
    for candidate in range(5):
        stepped = rolled(batch, tasks, actions[:, candidate])[:, 1:]
        np.testing.assert_array_equal(simulated[:, candidate], stepped)


@pytest.mark.parametrize("image_size", [64, 65, 224])
def test_observations_show_state_and_goal(image_size):
    batch = WallBatch(image_size)
    tasks = batch.sample_tasks(0, num_tasks=3)
    obs, goal = batch.reset(tasks), batch.goal_observation()
    for seen, positions in ((obs, [t.start for t in tasks]), (goal, [t.goal for t in tasks])):
        assert seen.pixels.shape == (3, 3, image_size, image_size)
        assert seen.pixels.dtype == torch.uint8
        assert seen.proprio is not None
        np.testing.assert_allclose(seen.proprio.numpy(), positions, rtol=1e-6)
    after = batch.step(np.ones((3, 2)))
    assert not torch.equal(after.pixels, obs.pixels)


def test_sampled_tasks_have_the_layout_of_the_batch():
    for task in WallBatch(wall_x=28.0, door_y=20.0).sample_tasks(0, num_tasks=5):
        assert task.parameters == {"wall_x": 28.0, "door_y": 20.0}
    plain = WallBatch().sample_tasks(0, num_tasks=1)[0]
    assert plain.parameters == {"wall_x": 32.0, "door_y": 30.0}


def test_states_are_copies():
    batch = WallBatch()
    batch.reset(batch.sample_tasks(0, num_tasks=2))
    batch.states()[:] = 0.0
    assert (batch.states() > 0).all()


def test_registry_knows_wall():
    assert ENVIRONMENTS.get("wall") is WallBatch


def test_bad_input_is_refused():
    with pytest.raises(UserError, match="image_size = 8"):
        WallBatch(8)
    batch = WallBatch()
    with pytest.raises(UserError, match="reset\\(tasks\\) sets the number"):
        batch.step(np.zeros((1, 2)))
    with pytest.raises(UserError, match="give at least 1"):
        batch.reset([])
    batch.reset(batch.sample_tasks(0, num_tasks=2))
    with pytest.raises(UserError, match="shape \\(2, 3\\)"):
        batch.step(np.zeros((2, 3)))
    with pytest.raises(UserError, match="not finite"):
        batch.step(np.full((2, 2), np.nan))
    with pytest.raises(UserError, match="shape \\(3, 1, 1, 2\\)"):
        batch.simulate(np.zeros((3, 1, 1, 2)))


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


def test_what_dots_are_beside():
    batch = WallBatch()
    places = [(32.0, 30.0), (36.5, 30.0), (27.5, 40.0), (20.0, 20.0), (5.0, 20.0), (33.0, 58.5)]
    batch.reset([Task(start=place, goal=(50.0, 50.0)) for place in places])
    found = {name: there.tolist() for name, there in batch.beside(batch.states()).items()}
    assert found == {
        "door": [True, True, False, False, False, False],
        "wall": [False, False, True, False, False, True],
        "border": [False, False, False, False, True, True],
    }
