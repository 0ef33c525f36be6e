"""Random shooting: the best of what was drawn."""

import pytest
import torch

from jepawm.errors import UserError
from jepawm.planning import PLANNERS
from jepawm.planning.random_shooting import RandomShooting

OPTIMUM = torch.tensor([[[0.5, -1.0]], [[-0.3, 0.9]]])  # [2, 1, 2]


def _cost(actions):
    return (actions - OPTIMUM[:, None]).square().sum((-2, -1))


def _plan(planner, cost=_cost, bounds=None):
    generator = torch.Generator().manual_seed(0)
    return planner.plan(cost, torch.zeros(2, 1, 2), bounds=bounds, generator=generator)


def test_comes_near_the_optimum_and_reports_its_cost():
    plan = _plan(RandomShooting())
    assert (plan.cost < 0.01).all()
    torch.testing.assert_close(plan.cost, _cost(plan.actions[:, None])[:, 0])
    torch.testing.assert_close(plan.cost, plan.history.amin(0))


def test_keeps_the_guess_if_nothing_is_better():
    plan = _plan(RandomShooting(num_iterations=2), cost=lambda a: a.square().sum((-2, -1)))
    assert (plan.actions == 0).all()


def test_stays_inside_the_bounds():
    bounds = (torch.tensor([-0.1, -0.1]), torch.tensor([0.1, 0.1]))
    assert _plan(
        RandomShooting(num_iterations=2), bounds=bounds
    ).actions.abs().max() <= torch.tensor(0.1)


def test_std_widens_the_search():
    narrow = _plan(RandomShooting(num_iterations=1, std=0.01))
    assert (narrow.cost > 0.5).all()


def test_nan_costs_are_dropped_and_all_nan_is_an_error():
    plan = _plan(
        RandomShooting(num_iterations=3),
        cost=lambda a: torch.where(a[..., 0, 1] > 0.5, torch.nan, _cost(a)),
    )
    assert plan.num_dropped > 0
    assert (plan.actions[:, 0, 1] <= 0.5).all()
    with pytest.raises(UserError, match="every candidate"):
        _plan(RandomShooting(), cost=lambda a: torch.full(a.shape[:2], torch.nan))


@pytest.mark.parametrize("fields", [{"num_samples": 0}, {"num_iterations": 0}, {"std": 0.0}])
def test_bad_fields_are_refused(fields):
    with pytest.raises(UserError, match=next(iter(fields))):
        RandomShooting(**fields)


def test_found_by_name():
    assert PLANNERS.get("random_shooting") is RandomShooting
