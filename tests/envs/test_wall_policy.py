"""The collecting policy of Wall has the statistics of the paper's data set."""

import numpy as np

from jepawm.envs.wall_dynamics import WallLayout, wall_rollout
from jepawm.envs.wall_policy import random_wall_actions, random_wall_starts


def collect(num_episodes=1920):
    generator = np.random.default_rng(0)
    actions = random_wall_actions(generator, num_episodes=num_episodes, num_steps=50)
    starts = random_wall_starts(generator, num_episodes=num_episodes)
    after = wall_rollout(starts, actions, layout=WallLayout.fixed())
    return actions, np.concatenate([starts[:, None], after], axis=1)


def test_action_statistics_match_the_reference():
    actions, _ = collect()
    assert actions.shape == (1920, 50, 2)
    np.testing.assert_allclose(actions.mean((0, 1)), 0.0, atol=0.03)
    np.testing.assert_allclose(actions.std((0, 1)), 0.75, atol=0.02)
    lengths = np.linalg.norm(actions, axis=-1)
    assert lengths.min() >= 0.2 - 1e-6
    assert lengths.max() <= 1.8 + 1e-6


def test_state_statistics_match_the_reference():
    _, states = collect()
    np.testing.assert_allclose(states.mean((0, 1)), 31.9, atol=2.0)
    np.testing.assert_allclose(states.std((0, 1)), 17.5, atol=0.7)


def test_both_rooms_and_the_door_are_visited():
    _, states = collect()
    x = states[..., 0]
    assert 0.4 < (x < 32).mean() < 0.6
    in_door = np.abs(x - 32) < 3
    assert in_door.sum() > 1000
    crosses = (x < 29).any(1) & (x > 35).any(1)
    assert crosses.sum() > 100


def test_starts_cover_the_floor_of_both_rooms():
    starts = random_wall_starts(np.random.default_rng(0), num_episodes=20_000, wall_x=24.0)
    x, y = starts.T
    assert starts.min() >= 4.5
    assert starts.max() <= 59.5
    assert not (np.abs(x - 24) < 3.5).any()
    assert abs((x < 24).mean() - 16.0 / 48.0) < 0.02  # by area
    assert abs(y.mean() - 32) < 0.5


def test_straighter_headings_go_further():
    def travelled(low, high):
        actions = random_wall_actions(
            np.random.default_rng(0), num_episodes=500, num_steps=20, turn_std_range=(low, high)
        )
        return np.linalg.norm(actions.sum(1), axis=-1).mean()

    assert travelled(0.1, 0.2) > 2 * travelled(1.0, 2.0)


def test_actions_depend_on_the_generator_only():
    first = random_wall_actions(np.random.default_rng(5), num_episodes=3, num_steps=4)
    again = random_wall_actions(np.random.default_rng(5), num_episodes=3, num_steps=4)
    other = random_wall_actions(np.random.default_rng(6), num_episodes=3, num_steps=4)
    np.testing.assert_array_equal(first, again)
    assert (first != other).all()
