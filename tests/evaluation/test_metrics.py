"""Intervals against published values, and their coverage."""

import numpy as np
import pytest

from jepawm.evaluation.metrics import (
    correlation_interval,
    mean_interval,
    paired_difference,
    rank_correlation,
    wilson_interval,
)


@pytest.mark.parametrize(
    ("successes", "episodes", "low", "high"),
    [
        # Newcombe 1998 (single proportion), method 3: 81/263, 15/148, 0/20, 1/29.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_matches_published_values(successes, episodes, low, high):
    found = wilson_interval(successes, episodes)
    assert found == pytest.approx((low, high), abs=5e-5)


def test_wilson_is_symmetric_and_ends_exactly():
    low, high = wilson_interval(90, 96)
    mirrored = wilson_interval(6, 96)
    assert (1 - mirrored[1], 1 - mirrored[0]) == pytest.approx((low, high))
    assert wilson_interval(96, 96)[1] == 1.0
    assert wilson_interval(0, 96)[0] == 0.0


@pytest.mark.parametrize(("successes", "episodes"), [(0, 0), (3, 2), (-1, 2)])
def test_impossible_counts_are_refused(successes, episodes):
    with pytest.raises(ValueError, match="episodes"):
        wilson_interval(successes, episodes)


def _outcomes(both, first, second, neither):
    counts = (both, first, second, neither)
    return (
        np.repeat([True, True, False, False], counts),
        np.repeat([True, False, True, False], counts),
    )


def test_paired_difference_by_hand():
    """36 both, 12 only the first, 2 only the second, none neither: 0.96 - 0.76."""
    found = paired_difference(*_outcomes(36, 12, 2, 0))
    low1, high1 = wilson_interval(48, 50)
    low2, high2 = wilson_interval(38, 50)
    # product of the diagonals 36*0 - 12*2 = -24; margins 48, 2, 38, 12
    phi = -24 / (48 * 2 * 38 * 12) ** 0.5
    below, above = (0.96 - low1, high2 - 0.76), (high1 - 0.96, 0.76 - low2)
    expected = [(a**2 - 2 * phi * a * b + b**2) ** 0.5 for a, b in (below, above)]
    assert found.difference == pytest.approx(0.2)
    assert found.ci95 == pytest.approx((0.2 - expected[0], 0.2 + expected[1]))


def test_agreement_narrows_the_interval():
    agreeing = paired_difference(*_outcomes(60, 4, 4, 32))
    opposed = paired_difference(*_outcomes(32, 32, 32, 4))
    assert agreeing.difference == opposed.difference == 0.0
    width = np.diff(agreeing.ci95), np.diff(opposed.ci95)
    assert width[0] < 0.6 * width[1]


def test_equal_agents_differ_by_zero():
    outcome = np.array([True, False, True])
    found = paired_difference(outcome, outcome)
    assert found.difference == 0.0
    assert found.ci95[0] <= 0.0 <= found.ci95[1]


def test_paired_interval_covers_the_truth():
    random = np.random.default_rng(0)
    inside = 0
    for _ in range(600):
        shared = random.random(96) < 0.8
        first = shared | (random.random(96) < 0.5)  # 0.9
        second = shared & (random.random(96) < 0.9)  # 0.72
        low, high = paired_difference(first, second).ci95
        inside += low <= 0.18 <= high
    assert 0.92 < inside / 600 < 0.99


def test_interval_of_a_mean():
    found = mean_interval(np.array([1.0, 2.0, 3.0]))
    assert found.difference == 2.0
    assert found.ci95 == pytest.approx((2 - 1.959964 / 3**0.5, 2 + 1.959964 / 3**0.5))
    with pytest.raises(ValueError, match="no interval"):
        mean_interval(np.ones(1))


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ([1.0, 2.0, 3.0, 9.0], [0.1, 0.2, 0.4, 0.5], 1.0),
        ([1.0, 2.0, 3.0], [3.0, 2.0, 1.0], -1.0),
        ([4.0, 3.0, 1.0, 2.0], [1.0, 2.0, 3.0, 4.0], -0.8),
        ([1.0, 2.0, 2.0, 3.0], [1.0, 3.0, 2.0, 4.0], 0.9486833),  # ties share their mean rank
        ([1.0, 1.0], [1.0, 2.0], None),
        ([1.0, 2.0, np.inf], [1.0, 2.0, 3.0], 1.0),
    ],
)
def test_rank_correlation_known_by_hand(first, second, expected):
    found = rank_correlation(np.array(first), np.array(second))
    assert found == (None if expected is None else pytest.approx(expected))


def test_interval_of_a_rank_correlation():
    assert correlation_interval(0.5, 30) == pytest.approx((0.1481, 0.7394), abs=2e-4)
    assert correlation_interval(0.5, 3) is None
    assert correlation_interval(-1.0, 30) is None
