"""Metaworld as pure functions: bit for bit what the package's own environment does."""

import numpy as np
import pytest

pytest.importorskip("metaworld", reason="needs the extra 'metaworld'")

import mujoco
from metaworld.env_dict import ALL_V3_ENVIRONMENTS_GOAL_OBSERVABLE

from jepawm.envs.metaworld.simulator import MetaworldSimulator, metaworld_tasks
from jepawm.errors import UserError

EVERYTHING = mujoco.mjtState.mjSTATE_INTEGRATION.value
NOW = np.r_[0:18, 36:39]  # Metaworld's observation without its previous instant


def true_env(task, layout):
    """Return the package's own environment after a reset with a layout."""
    env = ALL_V3_ENVIRONMENTS_GOAL_OBSERVABLE[f"{task}-v3-goal-observable"](seed=5)
    env._last_rand_vec = layout.copy()
    env.reset()
    return env


def everything(model, data):
    state = np.empty(mujoco.mj_stateSize(model, EVERYTHING))
    mujoco.mj_getState(model, data, state, EVERYTHING)
    return state


def check_task(task):
    """Compare two interleaved episodes with the package's own environment."""
    simulator = MetaworldSimulator(task)
    scenes = [simulator.arrange(simulator.draw_layout(seed)) for seed in (1, 2)]
    actions = np.random.default_rng(0).uniform(-1.2, 1.2, (2, 40, 4))
    actions[:, :15, 2] = -0.9  # down to the table
    moments = [[simulator.observe(scene, scene.start)] for scene in scenes]
    for t in range(40):
        for episode, scene, action in zip(moments, scenes, actions[:, t], strict=True):
            episode.append(simulator.step(scene, episode[-1].state, action=action))
    for episode, scene, sequence in zip(moments, scenes, actions, strict=True):
        env = true_env(task, scene.layout)
        simulator.pose(scene, scene.start)
        assert np.array_equal(
            everything(env.model, env.data), everything(simulator.model, simulator.data)
        )
        for moment, action in zip(episode[1:], sequence, strict=True):
            obs, _, _, _, info = env.step(action)
            assert np.array_equal(obs[NOW], moment.obs[NOW])
            assert (info["success"], info["obj_to_target"]) == (moment.success, moment.distance)
        simulator.pose(scene, episode[-1].state)
        assert np.array_equal(
            everything(env.model, env.data), everything(simulator.model, simulator.data)
        )
        states = simulator.simulate(scene, scene.start, actions=sequence)
        assert np.array_equal(states, [moment.state for moment in episode[1:]])
        looked = simulator.observe(scene, episode[-1].state)
        assert looked.success == episode[-1].success
        assert np.array_equal(looked.state, episode[-1].state)
        np.testing.assert_allclose(looked.obs[NOW], episode[-1].obs[NOW], atol=1e-12)


@pytest.mark.parametrize("task", ["reach", "reach-wall", "push", "door-open"])
def test_states_observations_and_success_are_those_of_metaworld(task):
    check_task(task)


@pytest.mark.slow
@pytest.mark.parametrize("task", metaworld_tasks())
def test_every_task_is_that_of_metaworld(task):
    check_task(task)


def test_there_are_fifty_tasks():
    assert len(metaworld_tasks()) == 50


def test_layouts_depend_on_the_seed_alone():
    first, second = MetaworldSimulator("reach"), MetaworldSimulator("reach")
    layout = first.draw_layout(7)
    first.step(first.arrange(layout), first.arrange(layout).start, action=np.ones(4))
    assert np.array_equal(first.draw_layout(7), layout)
    assert np.array_equal(second.draw_layout(7), layout)
    assert not np.array_equal(second.draw_layout(8), layout)
    assert (np.abs(layout[[0, 3]]) <= 0.1).all()  # x of the object and of the goal, metres


@pytest.mark.parametrize("task", ["reach", "reach-wall"])
def test_the_expert_reaches_the_goal_and_noise_changes_its_actions(task):
    simulator = MetaworldSimulator(task)
    scene = simulator.arrange(simulator.draw_layout(3))
    actions, end = simulator.expert(scene, noise=np.zeros((100, 4)))
    assert end.success
    assert end.distance < 0.05
    assert np.abs(actions).max() <= 1.0
    noisy, _ = simulator.expert(scene, noise=np.full((5, 4), 0.3))
    assert not np.allclose(noisy, actions[:5])


def test_an_unknown_task_is_refused_with_those_there_are():
    with pytest.raises(UserError, match=r"no task 'reech' \(known: assembly, .*reach-wall"):
        MetaworldSimulator("reech")
