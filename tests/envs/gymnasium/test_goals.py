"""Goals of Gymnasium environments: an expert of the environment's own, pictures that are none."""

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from jepawm.envs.gymnasium.batch import GymnasiumBatch
from jepawm.envs.gymnasium.goals import ExpertGoals, picture
from jepawm.errors import UserError


class Counter(gymnasium.Env):
    """Counts up; its expert reaches 5."""

    observation_space = spaces.Box(0, 9, (1,), np.float64)
    action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)
    render_mode = "rgb_array"

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.count = 0.0
        return np.array([self.count]), {}

    def step(self, action):
        self.count += float(action[0])
        return np.array([self.count]), 0.0, False, False, {"success": self.count > 4.5}

    def render(self):
        return np.full((8, 8, 3), int(20 * self.count), dtype=np.uint8)

    def expert_action(self):
        return np.array([min(1.0, 5.0 - self.count)])


class Blind(Counter):
    def render(self):
        return None


def test_the_expert_s_end_is_the_goal_and_the_environment_s_flag_is_success():
    env = GymnasiumBatch(8, make=Counter, goals=ExpertGoals(num_steps=7))
    env.reset(env.sample_tasks(0, num_tasks=1))
    assert (env.goal_observation().pixels == 100).all()
    assert env.goal_distance(env.states()[:, None]).item() == 25.0
    for _ in range(5):
        assert not env.success().any()
        env.step(np.ones((1, 1)))
    assert env.success().all()


def test_an_environment_without_pictures_or_expert_is_refused():
    with pytest.raises(UserError, match="Blind renders NoneType, no rgb_array"):
        picture(Blind())
    bare = type("Lost", (gymnasium.Env,), {})()
    with pytest.raises(UserError, match="Lost has no method expert_action"):
        ExpertGoals().goal(bare, ExpertGoals().draw(bare, 0))
