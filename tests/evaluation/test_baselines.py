"""The agents without a world model."""

import numpy as np
import pytest
import torch

from jepawm.agent import AgentConfig
from jepawm.errors import UserError
from jepawm.evaluation.baselines import DoNothing, Oracle, RandomActions, oracle_planner
from jepawm.normalizer import Normalizer
from jepawm.planning.cem import CEM
from jepawm.planning.gradient import Adam
from jepawm.protocol import PROTOCOLS

NORMALIZER = Normalizer.from_statistics(action_mean=[2.0, -1.0], action_std=[0.5, 3.0])
SMALL_STEPS = Normalizer.from_statistics(action_mean=[0.0, 0.1], action_std=[0.3, 0.4])


def test_do_nothing_gives_zeros(env):
    obs = env.reset(env.sample_tasks(0, num_tasks=3))
    agent = DoNothing(action_dim=10)
    agent.reset(obs)
    assert torch.equal(agent.act(obs), torch.zeros(3, 10))


def test_random_actions_have_the_statistics_of_the_data(env):
    obs = env.reset(env.sample_tasks(0, num_tasks=2000))
    agent = RandomActions(normalizer=NORMALIZER, frameskip=5)
    agent.reset(obs)
    actions = agent.act(obs).reshape(-1, 2)
    torch.testing.assert_close(actions.mean(0), NORMALIZER.action_mean, atol=0.1, rtol=0)
    torch.testing.assert_close(actions.std(0), NORMALIZER.action_std, atol=0.1, rtol=0)


def _oracle(env, **fields):
    settings = {
        "planner": CEM(num_samples=100, num_iterations=15),
        "normalizer": SMALL_STEPS,
        "protocol": PROTOCOLS["paper"],
        "config": AgentConfig(),
    }
    return Oracle(env, **(settings | fields))


def test_oracle_plans_on_the_true_dynamics_without_changing_them(env):
    tasks = env.sample_tasks(0, num_tasks=4)
    obs = env.reset(tasks)
    oracle = _oracle(env)
    oracle.reset(env.goal_observation(), 6)
    for _ in range(6):
        before = env.states()
        block = oracle.act(obs).numpy()
        np.testing.assert_array_equal(env.states(), before)
        for actions in np.split(block, 5, axis=1):
            obs = env.step(actions)
    assert env.success().all()


def test_oracle_respects_bounds(env):
    obs = env.reset(env.sample_tasks(0, num_tasks=2))
    oracle = _oracle(env, config=AgentConfig(action_bounds=(0.1,)))
    oracle.reset(env.goal_observation(), 6)
    normalized = SMALL_STEPS.normalize_action(oracle.act(obs))
    assert normalized.abs().max() <= 0.1 + 1e-5


def test_oracle_needs_the_environments_own_goals(env):
    env.reset(env.sample_tasks(0, num_tasks=2))
    with pytest.raises(UserError, match="2 tasks"):
        _oracle(env).reset(env.goal_observation()[:1], 6)


def test_the_oracle_of_a_planner_that_follows_gradients_searches_by_cem():
    planner = CEM(num_samples=7, num_elites=2)
    assert oracle_planner(planner) is planner
    assert oracle_planner(Adam()) == CEM()
