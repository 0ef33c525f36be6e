"""The T: places of its corners, areas of overlap with known answers."""

import numpy as np
import pytest

from jepawm.envs.pusht.shape import (
    BLOCK_SHAPES,
    CENTER_OF_GRAVITY,
    TARGET_POSE,
    clip_polygon,
    covered_part,
    place_block,
    polygon_area,
    target_reward,
)

SQUARE = np.array([(0.0, 0.0), (2.0, 0.0), (2.0, 2.0), (0.0, 2.0)])


def test_centre_of_gravity_is_the_mean_of_both_centres():
    np.testing.assert_array_equal(BLOCK_SHAPES.mean((0, 1)), CENTER_OF_GRAVITY)


def test_a_quarter_turn_places_the_stem_to_the_left():
    corners = place_block(np.array([100.0, 200.0, np.pi / 2]))
    np.testing.assert_allclose(corners[0].min(0), [70.0, 140.0], atol=1e-9)  # bar
    np.testing.assert_allclose(corners[0].max(0), [100.0, 260.0], atol=1e-9)
    np.testing.assert_allclose(corners[1].min(0), [-20.0, 185.0], atol=1e-9)  # stem
    np.testing.assert_allclose(corners[1].max(0), [70.0, 215.0], atol=1e-9)


def test_poses_are_placed_together_as_one_by_one():
    poses = np.random.default_rng(0).uniform(-3, 3, (4, 5, 3))
    together = place_block(poses)
    assert together.shape == (4, 5, 2, 4, 2)
    np.testing.assert_array_equal(together[2, 3], place_block(poses[2, 3]))


@pytest.mark.parametrize(
    ("shift", "area"), [((0, 0), 4.0), ((1, 0), 2.0), ((1, 1), 1.0), ((2, 0), 0.0), ((9, 9), 0.0)]
)
def test_overlap_of_squares(shift, area):
    clipped = clip_polygon(SQUARE + np.array(shift), SQUARE)
    assert polygon_area(clipped) == pytest.approx(area)


def test_overlap_of_a_square_and_its_diamond_is_an_octagon():
    diamond = 1 + np.sqrt(2) * np.array([(-1.0, 0.0), (0.0, -1.0), (1.0, 0.0), (0.0, 1.0)])
    assert polygon_area(clip_polygon(diamond, SQUARE)) == pytest.approx(8 * (np.sqrt(2) - 1))


def test_reward_is_full_at_the_target_and_counts_from_95_percent():
    target = np.array(TARGET_POSE)
    assert covered_part(target, target) == pytest.approx(1.0)
    assert target_reward(target) == 1.0
    away = target + np.array([200.0, 0.0, 0.0])
    assert target_reward(away) == 0.0
    along_the_bar = np.array([100.0, 100.0, 0.0])
    moved = along_the_bar + np.array([30.0, 0.0, 0.0])
    # of the bar 90 x 30 stay, of the stem (30 wide) nothing
    assert covered_part(moved, along_the_bar) == pytest.approx(90 * 30 / 6300)
    turned = target + np.array([0.0, 0.0, 2 * np.pi])
    assert covered_part(turned, target) == pytest.approx(1.0)
