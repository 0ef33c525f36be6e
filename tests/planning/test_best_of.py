"""Proposals are chosen by their cost, or taken unseen."""

import pytest
import torch

from jepawm.errors import UserError
from jepawm.planning.best_of import BestOf, ask, takes_proposals
from jepawm.planning.cem import CEM
from jepawm.planning.random_shooting import RandomShooting

INIT = torch.full((2, 1, 1), 9.0)
PROPOSALS = torch.tensor([[[[3.0]], [[1.0]], [[2.0]]], [[[4.0]], [[6.0]], [[5.0]]]])  # [2, 3, 1, 1]


def plan(planner: BestOf, *, proposals=PROPOSALS, bounds=None, cost=lambda a: a[..., 0, 0]):
    return planner.plan(cost, INIT, bounds=bounds, generator=torch.Generator(), proposals=proposals)


def test_the_cheapest_is_taken():
    found = plan(BestOf(num_proposals=3))
    assert found.actions.flatten().tolist() == found.cost.tolist() == [1.0, 4.0]


def test_unseen_the_first_is_taken_and_nothing_is_evaluated():
    def cost(_):
        raise AssertionError

    found = plan(BestOf(num_proposals=3, verify=False), cost=cost)
    assert found.actions.flatten().tolist() == [3.0, 4.0]
    assert found.cost.isnan().all()
    assert found.history.shape == (0, 2)


def test_bounds_hold():
    bounds = (torch.tensor([2.5]), torch.tensor([4.5]))
    assert plan(BestOf(), bounds=bounds).actions.flatten().tolist() == [2.5, 4.0]
    assert plan(BestOf(verify=False), bounds=bounds).actions.flatten().tolist() == [3.0, 4.0]


def test_without_proposals_the_initial_guess_is_the_plan():
    for planner in (BestOf(), BestOf(verify=False)):
        found = plan(planner, proposals=None)
        assert found.actions.flatten().tolist() == found.cost.tolist() == [9.0, 9.0]


def test_a_proposal_without_a_cost_is_dropped_and_counted():
    found = plan(BestOf(), cost=lambda a: torch.where(a[..., 0, 0] == 1.0, torch.nan, a[..., 0, 0]))
    assert found.actions.flatten().tolist() == [2.0, 4.0]
    assert found.num_dropped == 1


def test_proposals_that_are_no_numbers_become_the_initial_guess():
    proposals = PROPOSALS.clone()
    proposals[0] = torch.nan
    proposals[1, 0] = torch.inf
    given, dropped = ask(
        lambda horizon, num_plans: proposals[:, :num_plans, :horizon],
        BestOf(num_proposals=3),
        like=INIT,
    )
    assert given["proposals"][:, :, 0, 0].tolist() == [[9.0, 9.0, 9.0], [9.0, 6.0, 5.0]]
    assert dropped == 4


def test_nobody_is_asked_for_a_planner_that_wants_none():
    def propose(**_):
        raise AssertionError

    for planner in (CEM(), RandomShooting()):
        assert not takes_proposals(planner)
        assert ask(propose, planner, like=INIT) == ({}, 0)
    assert takes_proposals(CEM(num_proposals=2))
    assert takes_proposals(BestOf())


def test_at_least_one_proposal_is_needed():
    with pytest.raises(UserError, match=r"planner\.num_proposals = 0; give at least 1"):
        BestOf(num_proposals=0)
