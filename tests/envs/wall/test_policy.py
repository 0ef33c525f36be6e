"""The collecting policy of Wall has the statistics of the paper's data set."""

import numpy as np

from jepawm.envs.wall.dynamics import WallLayout, wall_rollout
from jepawm.envs.wall.policy import random_wall_actions, random_wall_starts


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


def test_state_statistics_match_the_reference():
    _, states = collect()
    np.testing.assert_allclose(states.mean((0, 1)), 31.9, atol=2.0)
    np.testing.assert_allclose(states.std((0, 1)), 17.5, atol=3.5)  # less: starts at the door


def test_both_rooms_and_the_door_are_visited():
    _, states = collect()
    x = states[..., 0]
    assert 0.4 < (x < 32).mean() < 0.6
    in_door = np.abs(x - 32) < 3
    assert in_door.sum() > 1000
    crosses = (x < 29).any(1) & (x > 35).any(1)
    assert crosses.sum() > 200


def test_starts_cover_the_floor_of_both_rooms():
    starts = random_wall_starts(
        np.random.default_rng(0), num_episodes=20_000, wall_x=24.0, near_door=0.0
    )
    x, y = starts.T
    assert starts.min() >= 4.5
    assert starts.max() <= 59.5
    assert not (np.abs(x - 24) < 3.5).any()
    assert abs((x < 24).mean() - 16.0 / 48.0) < 0.02  # by area
    assert abs(y.mean() - 32) < 0.5


def test_the_asked_part_of_the_starts_is_near_the_door():
    starts = random_wall_starts(
        np.random.default_rng(0), num_episodes=5000, wall_x=24.0, door_y=40.0, near_door=1.0
    )
    offset = np.abs(starts - [24.0, 40.0])
    assert offset[:, 0].max() <= 12.0
    assert offset[:, 1].max() <= 3.5  # as high as the door
    assert (offset[:, 0] < 3).mean() > 0.2


def test_persistent_actions_go_further_at_the_same_std():
    def draw(persistence):
        return random_wall_actions(
            np.random.default_rng(0),
            num_episodes=500,
            num_steps=20,
            persistence_range=(persistence, persistence),
        )

    jitter, straight = draw(0.0), draw(0.9)
    np.testing.assert_allclose([jitter.std(), straight.std()], 0.75, atol=0.03)
    travelled = [np.linalg.norm(actions.sum(1), axis=-1).mean() for actions in (jitter, straight)]
    assert travelled[1] > 2 * travelled[0]
