"""MPPI: weights by hand, an average in closed form, and its options."""

from dataclasses import replace

import pytest
import torch

from jepawm.planning.mppi import MPPI, path_weights
from jepawm.testing import Quadratic

PROBLEM = Quadratic(optimum=torch.full((16, 6, 2), 0.7))


def _cost(planner) -> float:
    generator = torch.Generator().manual_seed(0)
    plan = planner.plan(PROBLEM, torch.zeros(16, 6, 2), bounds=None, generator=generator)
    return float(plan.cost.mean())


def test_weights_by_hand():
    """Costs 0, 2 and 4 have the standard deviation sqrt(8 / 3)."""
    weights = path_weights(torch.tensor([[0.0, 2.0, 4.0, float("inf")]]), temperature=0.5)
    scale = 0.5 * (8 / 3) ** 0.5
    expected = torch.softmax(torch.tensor([0.0, -2.0, -4.0]) / scale, dim=0)
    torch.testing.assert_close(weights[0, :3], expected)
    assert weights[0, 3] == 0.0


def test_equal_costs_weigh_alike():
    assert path_weights(torch.full((1, 4), 3.0), temperature=0.1).tolist() == [[0.25] * 4]


def test_the_average_is_the_posterior_mean():
    """Candidates from N(0, 1) weighted by exp(-(x - 2)^2 / (2 s^2)) have the mean 2 / (1 + s^2)."""
    draws = torch.randn(1, 400_000, generator=torch.Generator().manual_seed(0))
    cost = (draws - 2.0).square()
    variance = 0.5
    temperature = 2 * variance / float(cost.std(unbiased=False))
    mean = (path_weights(cost, temperature=temperature) * draws).sum()
    assert float(mean) == pytest.approx(2.0 / (1.0 + variance), abs=0.01)


def test_options_change_the_search():
    base = MPPI(num_samples=50, num_iterations=10)
    assert _cost(base) < 0.5 * _cost(replace(base, std_decay=1.0))
    assert _cost(replace(base, temperature=10.0)) > 1.5 * _cost(base)
    assert _cost(replace(base, color=2.0)) < _cost(base)
    assert _cost(replace(base, init_std=0.05)) > 1.5 * _cost(base)
