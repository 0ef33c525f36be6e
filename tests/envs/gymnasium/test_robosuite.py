"""robosuite: the scripted expert succeeds, episodes repeat. Runs where robosuite is installed."""

import numpy as np
import pytest

from jepawm.envs import ENVIRONMENTS
from jepawm.envs.gymnasium.robosuite import RobosuiteEnv
from jepawm.errors import UserError


@pytest.mark.slow
@pytest.mark.parametrize("task", ["reach", "pick", "place"])
def test_the_expert_succeeds_and_a_seed_repeats(task):
    pytest.importorskip("robosuite", reason="robosuite has a virtual environment of its own")
    env = ENVIRONMENTS.get(f"robosuite:{task}")(image_size=64)
    tasks = env.sample_tasks(0, num_tasks=1)
    obs = env.reset(tasks)
    assert obs.pixels.shape == (1, 3, 64, 64)
    assert not env.success().any()
    copy = env._copies[0].unwrapped
    for _ in range(150):
        env.step(copy.expert_action()[None])
    assert env.success().all()
    env.reset(tasks)
    actions = np.random.default_rng(0).uniform(-1, 1, (1, 1, 5, 7))
    states = env.simulate(actions)
    for action in actions[0, 0]:
        env.step(action[None])
    assert np.array_equal(env.states(), states[:, 0, -1])


def test_a_task_that_is_not_there_is_told():
    with pytest.raises(UserError, match=r"unknown robosuite task 'fly' \(known: reach, pick"):
        RobosuiteEnv("fly")
