"""Means over seeds and tasks: known quantiles, known variances, and how often intervals hold."""

import math

import numpy as np
import pytest

from jepawm.study.differences import estimate, t_quantile


@pytest.mark.parametrize(
    ("freedom", "quantile"),
    [(1, 12.7062), (2, 4.30265), (3, 3.18245), (10, 2.22814), (95, 1.98525), (math.inf, 1.95996)],
)
def test_quantiles_of_student(freedom: float, quantile: float):
    assert t_quantile(float(freedom)) == pytest.approx(quantile, abs=1e-4)


def test_one_seed_has_the_usual_interval_over_tasks():
    values = np.array([[1.0, 2.0, 4.0, 5.0]])
    found = estimate(values)
    half = 3.182446 * values.std(ddof=1) / 2
    assert found.mean == 3.0
    assert found.ci95 == pytest.approx((3.0 - half, 3.0 + half), abs=1e-5)
    assert found.smallest == pytest.approx(half * (1 + 0.841621 / 3.182446), abs=1e-5)


def test_seeds_that_differ_alike_on_all_tasks_are_as_good_as_one_number_each():
    found = estimate(np.tile(np.array([[1.0], [2.0], [3.0]]), (1, 50)))
    half = 4.302653 * 1.0 / math.sqrt(3)  # the t interval of three numbers
    assert found.ci95 == pytest.approx((2.0 - half, 2.0 + half), abs=1e-5)


def test_tasks_that_differ_alike_for_all_seeds_are_as_good_as_one_seed():
    row = np.array([1.0, 2.0, 4.0, 5.0])
    found = estimate(np.tile(row, (3, 1)))
    assert found.ci95 == pytest.approx(estimate(row[None]).ci95, abs=1e-9)


def test_equal_outcomes_of_all_tasks_are_no_proof_of_exactly_nothing():
    nothing = estimate(np.zeros((3, 96)), resolution=1.0)
    assert nothing.ci95 == pytest.approx((-1.96 / 96, 1.96 / 96), abs=1e-4)
    assert estimate(np.zeros((3, 96))).ci95 == (0.0, 0.0)


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    """Draw differences with effects of seeds and tasks many times; the truth is 0."""
    generator = np.random.default_rng(0)
    held = 0
    for _ in range(300):
        effects = 0.1 * generator.standard_normal((3, 1)) + 0.4 * generator.standard_normal((1, 96))
        found = estimate(effects + 0.3 * generator.standard_normal((3, 96)))
        held += found.ci95[0] <= 0.0 <= found.ci95[1]
    assert 0.90 <= held / 300 <= 1.0


def test_too_few_tasks_are_a_fault():
    with pytest.raises(ValueError, match="1 tasks"):
        estimate(np.zeros((3, 1)))
