"""A watched planner plans as it does unwatched, and every candidate that it evaluated is known."""

import pytest
import torch

from jepawm.contracts import TakesProposals
from jepawm.evaluation.watching import WatchedCost, WatchedPlanner
from jepawm.planning.best_of import BestOf
from jepawm.planning.cem import CEM
from jepawm.planning.gradient import GradientDescent
from jepawm.planning.proposing import takes_proposals

INIT = torch.zeros(2, 3, 4)


def parabola(actions: torch.Tensor) -> torch.Tensor:
    return (actions - 0.5).square().mean((-2, -1))


def plan(planner, **more):
    generator = torch.Generator().manual_seed(0)
    return planner.plan(parabola, INIT, bounds=None, generator=generator, **more)


PLANNERS = {
    "cem": CEM(num_samples=16, num_elites=4, num_iterations=5),
    "gd": GradientDescent(num_starts=3, num_iterations=5),
}


@pytest.mark.parametrize("name", PLANNERS)
def test_the_plan_is_the_same_and_every_iteration_is_seen(name: str):
    watched = WatchedPlanner(PLANNERS[name])
    found, expected = plan(watched), plan(PLANNERS[name])
    assert torch.equal(found.actions, expected.actions)
    assert torch.equal(found.cost, expected.cost)
    assert len(watched.looks) >= 5
    for look in watched.looks:
        torch.testing.assert_close(look.cost, parabola(look.actions))
    lowest = torch.stack([look.cost.min(1).values for look in watched.looks[:5]])
    torch.testing.assert_close(lowest, found.history)
    seconds = [look.seconds for look in watched.looks]
    assert seconds == sorted(seconds)
    plan(watched)
    assert len(watched.looks) < 12  # of the last plan alone


def test_what_a_planner_asks_for_is_asked_for():
    assert not takes_proposals(WatchedPlanner(PLANNERS["cem"]))
    watched = WatchedPlanner(BestOf(num_proposals=2))
    assert isinstance(watched, TakesProposals)
    assert takes_proposals(watched)
    assert watched.sees_dropped
    proposals = torch.full((2, 2, 3, 4), 0.5)
    assert float(plan(watched, proposals=proposals).cost.max()) == 0.0
    assert watched.looks[0].actions.shape == (2, 3, 3, 4)  # and the guess


def test_some_of_the_problems_are_watched_too():
    looks: list = []
    cost = WatchedCost(parabola, looks)
    assert cost.of(torch.tensor([1])) is cost  # a cost without parts
    cost(INIT[:, None])
    assert looks[0].cost.tolist() == [[0.25], [0.25]]
