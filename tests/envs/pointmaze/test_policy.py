from pathlib import Path

import numpy as np
import pytest

from jepawm.envs.pointmaze.policy import RandomPointMaze
from jepawm.errors import UserError


def draw(policy: RandomPointMaze) -> np.ndarray:
    generator = np.random.default_rng(0)
    script = policy.script(generator, num_episodes=400, num_steps=50, data_root=Path())
    assert len(script.tasks) == 400
    return np.stack(script.commands)


def test_actions_spread_and_persist_as_asked():
    for persistence in (0.0, 0.8):
        policy = RandomPointMaze(std=0.3, persistence_low=persistence, persistence_high=persistence)
        actions = draw(policy)
        assert actions.std() == pytest.approx(0.3, rel=0.05)
        neighbours = np.corrcoef(actions[:, :-1].ravel(), actions[:, 1:].ravel())[0, 1]
        assert neighbours == pytest.approx(persistence, abs=0.03)


def test_wrong_correlations_are_told():
    with pytest.raises(UserError, match=r"persistence_high = 1\.5"):
        draw(RandomPointMaze(persistence_high=1.5))
