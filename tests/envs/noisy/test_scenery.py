"""Discs and light that disturb pictures, by hand-made scenery."""

from dataclasses import replace

import numpy as np
import pytest

from jepawm.envs.noisy.scenery import Scenery, disturb_pictures, draw_scenery


@pytest.fixture
def quiet() -> Scenery:
    """Return the scenery of one copy with discs too small to be seen and light at rest."""
    still = np.zeros((1, 4, 2))
    return Scenery(
        start=still,
        velocity=still,
        radius=np.full((1, 4), -1.0),
        color=np.zeros((1, 4, 3)),
        rate=np.zeros((1, 5)),
        phase=np.zeros((1, 5)),
        goal_time=np.zeros(1),
    )


def grey(size: int = 65) -> np.ndarray:
    return np.full((1, 3, size, size), 100, dtype=np.uint8)


def seen(scenery: Scenery, *, time: float = 0.0, strength: float = 1.0) -> np.ndarray:
    return disturb_pictures(grey(), scenery, time=np.array([time]), strength=strength)[0]


def test_no_strength_changes_nothing():
    drawn = draw_scenery([5])
    picture = np.random.default_rng(0).integers(0, 256, (1, 3, 20, 30)).astype(np.uint8)
    same = disturb_pictures(picture, drawn, time=np.array([3.0]), strength=0.0)
    np.testing.assert_array_equal(same, picture)


@pytest.mark.parametrize(("strength", "middle"), [(1.0, 40), (0.5, 70)])
def test_a_disc_covers_what_is_behind_it_as_far_as_it_is_opaque(
    quiet: Scenery, strength: float, middle: int
):
    start, color, radius = quiet.start.copy(), quiet.color.copy(), quiet.radius.copy()
    start[0, 0], color[0, 0], radius[0, 0] = 0.5, 40.0, 0.1
    picture = seen(replace(quiet, start=start, color=color, radius=radius), strength=strength)
    np.testing.assert_array_equal(picture[:, 32, 32], [middle] * 3)  # without shade: the middle
    assert (picture[:, 32, 20:] == seen(quiet, strength=strength)[:, 32, 20:]).mean() > 0.6
    bare = seen(quiet, strength=strength)
    assert np.array_equal(picture[:, :20], bare[:, :20])  # 12 rows above: nothing


def test_discs_move_and_turn_round_at_the_border(quiet: Scenery):
    start, velocity, radius = quiet.start.copy(), quiet.velocity.copy(), quiet.radius.copy()
    start[0, 0], velocity[0, 0], radius[0, 0] = (0.5, 0.5), (0.1, 0.0), 0.1
    scenery = replace(quiet, start=start, velocity=velocity, radius=radius)
    black = [np.argwhere(seen(scenery, time=time)[0] == 0).mean(0) for time in (0.0, 3.0, 7.0)]
    np.testing.assert_allclose(black, [(32, 32), (32, 51.5), (32, 51.5)], atol=0.6)


def test_light_is_brighter_tinted_and_shaded(quiet: Scenery):
    phase = np.zeros((1, 5))
    phase[0, 0] = np.pi / 2  # brightest
    np.testing.assert_array_equal(seen(replace(quiet, phase=phase))[:, 32, 32], [125] * 3)
    phase[0, 1] = -np.pi / 2  # least red
    np.testing.assert_array_equal(seen(replace(quiet, phase=phase))[:, 32, 32], [115, 125, 125])
    columns = seen(quiet)[0].mean(0)  # the shade lies across at phase 0
    np.testing.assert_allclose(columns[[0, 32, 64]], [85, 100, 115], atol=0.6)
    assert np.ptp(seen(quiet)[0], axis=0).max() == 0


def test_light_comes_round_after_its_period(quiet: Scenery):
    rate = np.full((1, 5), 2 * np.pi / 20)
    scenery = replace(quiet, rate=rate)
    assert np.array_equal(seen(scenery, time=20.0), seen(scenery))
    assert not np.array_equal(seen(scenery, time=5.0), seen(scenery))


def test_scenery_of_a_copy_depends_on_its_seed_alone():
    both, second = draw_scenery([1, 2]), draw_scenery([2])
    for name in Scenery.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(both, name)[1:], getattr(second, name))
    assert not np.array_equal(both.color[0], both.color[1])
