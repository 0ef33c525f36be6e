"""Rewards that environments know of their states, against numbers worked out by hand."""

import numpy as np
import pytest

from jepawm.contracts import KnowsRewards
from jepawm.envs.wall.env import WallBatch
from jepawm.errors import UserError


def test_the_corner_of_wall():
    env = WallBatch(image_size=16)
    assert isinstance(env, KnowsRewards)
    low, high = env.geometry.low, env.geometry.high
    states = np.array([[[high, high], [low, low]], [[low, high], [(low + high) / 2] * 2]])
    expected = [[1.0, 0.0], [1 - 1 / np.sqrt(2), 0.5]]
    np.testing.assert_allclose(env.reward("corner", states), expected)


def test_speed_and_circling_of_pointmaze():
    pytest.importorskip("mujoco")
    from jepawm.envs.pointmaze.env import PointMazeBatch

    env = PointMazeBatch(image_size=32)
    right = 3.0 - 1.2 + 1.0  # a metre right of the middle (3, 3), in the state's coordinates
    states = np.array([[right, 3.0 - 1.2, 3.0, 4.0]])
    assert env.reward("speed", states) == pytest.approx([5.0])
    assert env.reward("circling", states) == pytest.approx([4.0])


def test_the_covered_part_of_pusht():
    pytest.importorskip("pymunk")
    from jepawm.envs.pusht.env import PushTBatch
    from jepawm.envs.pusht.shape import TARGET_POSE

    there = np.array([0.0, 0.0, *TARGET_POSE, 0.0, 0.0])
    away = np.array([0.0, 0.0, 50.0, 50.0, 0.0, 0.0, 0.0])
    found = PushTBatch(image_size=64).reward("covered", np.stack([there, away])[None])
    np.testing.assert_allclose(found, [[1.0, 0.0]])


def test_unknown_rewards_are_refused():
    env = WallBatch(image_size=16)
    with pytest.raises(UserError, match=r"no reward 'speed' here .known: corner"):
        env.reward("speed", np.zeros((1, 2)))
