"""Presets by name."""

import pytest
import torch

from jepawm.errors import UserError
from jepawm.planning.cem import CEM
from jepawm.planning.presets import find_preset, preset_names
from jepawm.planning.proposing import takes_proposals
from jepawm.testing import Quadratic


def test_the_paper_is_the_papers_cem():
    assert find_preset("paper", frameskip=5) == CEM(
        num_samples=300, num_iterations=30, num_elites=10
    )


@pytest.mark.parametrize("name", preset_names())
def test_presets_plan(name):
    problem, planner = (
        Quadratic(optimum=torch.full((1, 3, 10), 0.4)),
        find_preset(name, frameskip=5),
    )
    start = {}
    if takes_proposals(planner):
        start["proposals"] = torch.full((1, planner.num_proposals, 3, 10), 0.25)
    plan = planner.plan(
        problem,
        torch.zeros(1, 3, 10),
        bounds=None,
        generator=torch.Generator().manual_seed(0),
        **start,
    )
    cost = float(problem(plan.actions[:, None]))
    assert cost < 0.3 * float(problem(torch.zeros(1, 1, 3, 10)))
    assert plan.cost.isnan() if name == "direct" else float(plan.cost) == pytest.approx(cost)


def test_unknown_presets_are_refused():
    with pytest.raises(UserError, match="paper, direct, propose, fast, hybrid"):
        find_preset("quick", frameskip=5)
