"""PushTBatch: exact replays, success, simulation, reward, Gymnasium, refusals."""

import sys
import warnings

import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env

pytest.importorskip("pymunk", reason="Push-T needs the extra 'pusht' (pymunk)")

from jepawm.contracts import Simulator
from jepawm.envs import ENVIRONMENTS
from jepawm.envs.gymnasium.adapter import GymEnv, GymVectorEnv
from jepawm.envs.pusht.env import PushTBatch
from jepawm.envs.pusht.shape import TARGET_POSE
from jepawm.errors import UserError
from jepawm.types import Task

REST = (100.0, 100.0, 400.0, 400.0, 1.0, 0.0, 0.0)


def rolled(batch, tasks, actions):
    batch.reset(tasks)
    states = [batch.states()]
    for t in range(actions.shape[1]):
        batch.step(actions[:, t])
        states.append(batch.states())
    return np.stack(states, axis=1)


def some_actions(*shape):
    return np.random.default_rng(0).normal(0, 0.5, (*shape, 2))


def test_it_is_a_batched_environment_of_the_registry():
    assert ENVIRONMENTS.get("pusht") is PushTBatch
    assert isinstance(PushTBatch(), Simulator)


def test_walking_to_the_goal_succeeds():
    batch = PushTBatch()
    batch.reset([Task(start=REST, goal=(160.0, 100.0, *REST[2:]))])
    assert not batch.success()[0]
    for _ in range(3):
        batch.step(np.array([[0.5, 0.0]]))
    for _ in range(10):
        batch.step(np.zeros((1, 2)))
    assert abs(batch.states()[0, 0] - 160.0) < 20.0
    assert batch.success()[0]


def test_batch_equals_single_copies_and_replays_bit_for_bit():
    tasks = PushTBatch().sample_tasks(0, num_tasks=6)
    actions = some_actions(6, 20)
    batch = PushTBatch()
    together = rolled(batch, tasks, actions)
    np.testing.assert_array_equal(rolled(batch, tasks, actions), together)
    for row, task in enumerate(tasks):
        single = rolled(PushTBatch(), [task], actions[row : row + 1])
        np.testing.assert_array_equal(single[0], together[row])


def test_simulate_equals_stepping_also_in_the_middle_of_contacts():
    batch = PushTBatch()
    start = (256.0, 180.0, 256.0, 256.0, 0.0, 0.0, 0.0)  # the agent is about to push
    past = np.tile([0.1, 0.5], (2, 4, 1))
    actions = some_actions(2, 3, 6)
    tasks = [Task(start=start, goal=REST)] * 2
    before = rolled(batch, tasks, past)[:, -1]
    simulated = batch.simulate(actions)
    np.testing.assert_array_equal(batch.states(), before)
    for candidate in range(3):
        stepped = rolled(batch, tasks, np.concatenate([past, actions[:, candidate]], axis=1))
        np.testing.assert_array_equal(simulated[:, candidate], stepped[:, 5:])


def test_goal_distance_weighs_limits_alike():
    batch = PushTBatch()
    batch.reset([Task(start=REST, goal=REST)])
    states = np.array([[REST, REST, REST]])
    states[0, 1, 2] += 20.0
    states[0, 2, 4] -= np.pi / 9
    np.testing.assert_allclose(batch.goal_distance(states), [[0.0, 400.0, 400.0]])


def test_observations_show_state_and_goal():
    batch = PushTBatch(96)
    tasks = batch.sample_tasks(0, num_tasks=3)
    obs, goal = batch.reset(tasks), batch.goal_observation()
    for seen, states in ((obs, batch.states()), (goal, np.array([task.goal for task in tasks]))):
        assert seen.pixels.shape == (3, 3, 96, 96)
        assert seen.proprio is not None
        np.testing.assert_allclose(seen.proprio.numpy(), states[:, [0, 1, 5, 6]], rtol=1e-6)
    assert not torch.equal(obs.pixels, goal.pixels)
    assert batch.state_to_pixel == 96 / 512


def test_options_change_the_pictures():
    tasks = PushTBatch().sample_tasks(0, num_tasks=1)
    smooth = PushTBatch(64).reset(tasks).pixels
    assert not torch.equal(smooth, PushTBatch(64, with_target=False).reset(tasks).pixels)
    assert not torch.equal(smooth, PushTBatch(64, antialias=False).reset(tasks).pixels)
    native = PushTBatch(224).reset(tasks).pixels
    assert torch.equal(native, PushTBatch(224, antialias=False).reset(tasks).pixels)


def test_reward_is_the_covered_part_of_the_target():
    batch = PushTBatch()
    there = (100.0, 100.0, *TARGET_POSE, 0.0, 0.0)
    batch.reset([Task(start=there, goal=REST), Task(start=REST, goal=REST)])
    np.testing.assert_array_equal(batch.rewards(), [1.0, 0.0])
    env = GymEnv(batch, rewards=batch.rewards)
    env.reset(options={"task": Task(start=there, goal=REST)})
    assert env.step(np.zeros(2))[1] == 1.0


def test_gymnasium_accepts_the_environment():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*spec.*")  # it is not registered
        check_env(GymEnv(PushTBatch(), render_mode="rgb_array"))


def test_vectorised_equals_single():
    many = GymVectorEnv(PushTBatch(), 3)
    obs, _ = many.reset(seed=3)
    assert obs in many.observation_space
    task = PushTBatch().sample_tasks(3, num_tasks=3)[2]
    single = GymEnv(PushTBatch())
    one, info = single.reset(options={"task": task})
    np.testing.assert_array_equal(one["pixels"], obs["pixels"][2])
    actions = some_actions(3)
    _, _, _, _, infos = many.step(actions)
    _, reward, _, _, info = single.step(actions[2])
    assert reward == 0.0
    np.testing.assert_array_equal(infos["state"][2], info["state"])
    with pytest.raises(UserError, match="1 tasks for 3 copies"):
        many.reset(options={"tasks": [task]})
    with pytest.raises(UserError, match=r"\['tsak'\] are not understood"):
        single.reset(options={"tsak": task})


def test_bad_input_is_refused(monkeypatch):
    for size in (16, 1024):
        with pytest.raises(UserError, match=f"image_size = {size}"):
            PushTBatch(size)
    batch = PushTBatch()
    with pytest.raises(UserError, match="reset\\(tasks\\) sets the number"):
        batch.step(np.zeros((1, 2)))
    with pytest.raises(UserError, match="give at least 1"):
        batch.reset([])
    with pytest.raises(UserError, match=r"parameters \['door_y'\]"):
        batch.reset([Task(start=REST, goal=REST, parameters={"door_y": 1.0})])
    batch.reset([Task(start=REST, goal=REST)])
    with pytest.raises(UserError, match="not finite"):
        batch.step(np.full((1, 2), np.nan))
    with pytest.raises(UserError, match="shape \\(3, 1, 1, 2\\)"):
        batch.simulate(np.zeros((3, 1, 1, 2)))
    monkeypatch.setitem(sys.modules, "pymunk", None)
    with pytest.raises(UserError, match=r"jepawm\[pusht\]"):
        PushTBatch()


def test_what_block_and_agent_are_beside():
    batch = PushTBatch()
    states = np.array(
        [
            [256.0, 400.0, 256.0, 256.0, 0.0, 0.0, 0.0],
            [20.0, 400.0, 256.0, 256.0, 0.0, 0.0, 0.0],
            [256.0, 400.0, 65.0, 256.0, 0.0, 0.0, 0.0],  # the bar reaches 60 pixels to the left
            [530.0, 400.0, 256.0, 256.0, 0.0, 0.0, 0.0],  # the agent may leave the table
        ]
    )
    found = {name: there.tolist() for name, there in batch.beside(states).items()}
    assert found == {
        "border (block)": [False, False, True, False],
        "border (agent)": [False, True, False, True],
    }
