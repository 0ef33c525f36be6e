"""Proposals are chosen by their cost, or taken unseen."""

import pytest
import torch

from jepawm.errors import UserError
from jepawm.planning.best_of import BestOf
from jepawm.planning.cem import CEM
from jepawm.planning.gradient import GradientDescent
from jepawm.planning.proposing import ask, takes_proposals
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
        CEM(num_proposals=3),
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


def far(actions):
    """Cost that is lowest at -20."""
    return (actions[..., 0, 0] + 20.0).square()


def test_the_cheapest_descend_from_where_they_are():
    refiner = GradientDescent(num_iterations=10, learning_rate=1.0, trust_region=2.5)
    found = plan(BestOf(num_proposals=3, num_refined=1, refiner=refiner), cost=far)
    assert found.actions.flatten().tolist() == [-1.5, 1.5]  # 1 and 4, as far as the region allows
    assert found.cost.tolist() == [18.5**2, 21.5**2]
    assert found.history.shape == (11, 2)


class Counted:
    """A cost that is lowest at 5, can be had for some problems, and counts candidates of each.

    The guess 9 costs 16; the best proposals, 3 and 5, cost 4 and 0.
    """

    def __init__(self, seen=None, rows=None):
        self.seen = [0, 0] if seen is None else seen
        self.rows = [0, 1] if rows is None else rows

    def __call__(self, actions):
        assert len(actions) == len(self.rows)
        for row in self.rows:
            self.seen[row] += actions.shape[1]
        return (actions[..., 0, 0] - 5.0).square()

    def of(self, problems):
        return Counted(self.seen, [self.rows[int(one)] for one in problems])


def test_poor_plans_are_searched_and_counted():
    cost = Counted()
    found = plan(BestOf(num_proposals=3, poor_above=0.2), cost=cost)
    assert found.num_searched == 1
    assert found.actions.flatten()[1] == 5.0  # good enough: not looked at again
    assert abs(found.actions.flatten()[0] - 5.0) < 0.5
    assert found.cost[0] < 0.25
    assert cost.seen[1] == 4  # three proposals and the guess
    assert cost.seen[0] > 100
    assert found.history.shape[1] == 2
    assert found.history[1:, 1].tolist() == [0.0] * (len(found.history) - 1)


def test_a_cost_of_all_problems_at_once_does_as_well():
    found = plan(BestOf(num_proposals=3, poor_above=0.2), cost=lambda a: (a[..., 0, 0] - 5.0) ** 2)
    assert found.num_searched == 1
    assert found.actions.flatten()[1] == 5.0
    assert abs(found.actions.flatten()[0] - 5.0) < 0.5
    assert found.history.shape[1] == 2


def test_only_what_is_not_good_is_refined():
    cost = Counted()
    refiner = GradientDescent(num_iterations=10, learning_rate=1.0, trust_region=1.5)
    planner = BestOf(num_proposals=3, num_refined=1, refine_above=0.2, refiner=refiner)
    found = plan(planner, cost=cost)
    assert found.num_searched == 0
    assert cost.seen == [14, 4]
    assert found.actions.flatten().tolist() == [4.5, 5.0]


def test_the_guess_is_one_of_the_candidates():
    found = plan(BestOf(num_proposals=3), cost=lambda a: (a[..., 0, 0] - 9.0).square())
    assert found.actions.flatten().tolist() == [9.0, 9.0]
    assert found.cost.tolist() == [0.0, 0.0]


def test_a_search_that_finds_nothing_better_changes_nothing():
    search = GradientDescent(num_starts=1, num_iterations=1)  # the guess, which costs 81
    proposals = torch.tensor([[[[1.0]]], [[[5.0]]]])  # cost 1 and 25
    planner = BestOf(num_proposals=1, poor_above=1e-3, search=search)
    found = plan(planner, proposals=proposals, cost=lambda a: a[..., 0, 0].square())
    assert found.num_searched == 2
    assert found.actions.flatten().tolist() == [1.0, 5.0]


def test_unseen_the_first_usable_one_is_taken():
    proposals = PROPOSALS.clone()
    proposals[:, 0] = torch.nan
    found = plan(BestOf(num_proposals=3, verify=False), proposals=proposals)
    assert found.actions.flatten().tolist() == [1.0, 6.0]
    assert found.num_searched == 0


def test_a_proposal_may_equal_the_guess():
    found = plan(BestOf(num_proposals=1, verify=False), proposals=INIT[:, None])
    assert found.actions.flatten().tolist() == [9.0, 9.0]
    assert found.num_searched == 0


@pytest.mark.parametrize("verify", [True, False])
def test_a_problem_whose_proposals_were_all_dropped_is_searched(verify):
    proposals = PROPOSALS.clone()
    proposals[0] = torch.nan
    planner = BestOf(num_proposals=3, verify=verify)
    given, _ = ask(lambda horizon, num_plans: proposals, planner, like=INIT)
    found = plan(planner, cost=Counted(), **given)
    assert found.num_searched == 1
    assert abs(found.actions.flatten()[0] - 5.0) < 0.5
    assert found.actions.flatten()[1] == (5.0 if verify else 4.0)
    assert found.cost.isnan().tolist() == [False, not verify]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_refined": 9}, r"planner\.num_refined = 9 is more than planner\.num_proposals = 8"),
        ({"num_refined": 1, "verify": False}, r"num_refined = 1 needs planner\.verify = true"),
        ({"poor_above": 0.5, "verify": False}, r"poor_above = 0\.5 needs planner\.verify = true"),
        ({"poor_above": 0.0}, r"planner\.poor_above = 0\.0; give a number above 0"),
    ],
)
def test_settings_that_say_nothing_are_refused(settings, message):
    with pytest.raises(UserError, match=message):
        BestOf(**settings)
