"""Optimisers of other packages: absent packages, choices, problems of their own."""

import sys

import pytest
import torch

from jepawm import load
from jepawm.errors import UserError
from jepawm.planning.ask_tell import CMAES, Nevergrad, require_package
from jepawm.planning.cem import CEM
from jepawm.testing import Quadratic

PROBLEM = Quadratic(optimum=torch.tensor([[[0.6, -0.4]], [[-0.2, 0.9]]]))


def _plan(planner, cost=PROBLEM, *, rows=slice(None)):
    init = torch.zeros(2, 1, 2)[rows]
    return planner.plan(cost, init, bounds=None, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("planner", "package"), [(CMAES(), "cma"), (Nevergrad(), "nevergrad")], ids=["cma", "nevergrad"]
)
def test_an_absent_package_is_named_with_its_extra(monkeypatch, planner, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=rf"needs {package}, .*jepawm\[{package}\]"):
        _plan(planner)


def test_nevergrads_optimisers_by_name():
    """For few numbers NGOpt chooses a meta-model, in whose place DiagonalCMA is taken."""
    chosen, named = (
        _plan(Nevergrad(num_samples=8, num_iterations=3, optimizer=name))
        for name in ("NGOpt", "DiagonalCMA")
    )
    assert torch.equal(chosen.actions, named.actions)


def test_the_first_problem_does_not_feel_the_others():
    planner = CMAES(num_samples=8, num_iterations=4)
    alone = _plan(planner, Quadratic(optimum=PROBLEM.optimum[:1]), rows=slice(0, 1))
    assert torch.equal(_plan(planner).actions[:1], alone.actions)


@pytest.mark.parametrize(
    ("planner", "package"), [(CMAES(), "cma"), (Nevergrad(), "nevergrad")], ids=["cma", "nevergrad"]
)
def test_an_absent_package_is_found_when_an_agent_is_made(monkeypatch, planner, package):
    """Before any baseline or training has run for nothing."""
    wall = load("wall")
    wall.agent(planner=planner)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=rf"needs {package}, .*jepawm\[{package}\]"):
        wall.agent(planner=planner)
    require_package(CEM())
