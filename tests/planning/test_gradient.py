"""Gradient planners: several starts, projection, the best iterate, options."""

from dataclasses import replace

import pytest
import torch

from jepawm.errors import UserError
from jepawm.planning.gradient import Adam, GradientDescent
from jepawm.planning.reference_gradient import ReferenceAdam, ReferenceGD
from jepawm.testing import Quadratic

BOTH = pytest.mark.parametrize("planner", [Adam(), GradientDescent()], ids=["adam", "gd"])
PROBLEM = Quadratic(optimum=torch.full((8, 4, 2), 1.5))


def _plan(planner, cost=PROBLEM, *, init=None, seed=0):
    init = torch.zeros_like(PROBLEM.optimum) if init is None else init
    return planner.plan(cost, init, bounds=None, generator=torch.Generator().manual_seed(seed))


def _two_valleys(actions):
    """A valley of depth 0 at 2 and one of depth 1 at -1, which is nearer to the start at 0."""
    first = actions[..., 0, 0]
    return torch.minimum((first - 2.0).square(), 1.0 + 0.2 * (first + 1.0).square())


@BOTH
def test_more_starts_find_the_deeper_valley(planner):
    init = torch.full((8, 1, 1), -0.5)
    alone = _plan(replace(planner, num_starts=1), _two_valleys, init=init)
    many = _plan(replace(planner, num_starts=16, init_std=1.5), _two_valleys, init=init)
    assert (alone.cost > 0.9).all()
    assert (many.cost < 0.1).all()


@BOTH
def test_the_best_iterate_is_returned_not_the_last(planner):
    """Steps far too long: the path jumps to and fro over the optimum."""
    plan = _plan(replace(planner, learning_rate=20.0, num_starts=1))
    torch.testing.assert_close(plan.cost, plan.history.amin(0))
    assert (plan.cost <= plan.history[0]).all()


@BOTH
def test_patience_ends_the_descent(planner):
    plan = _plan(replace(planner, num_iterations=400, patience=4), init=PROBLEM.optimum)
    assert len(plan.history) == 5
    assert (plan.cost == 0.0).all()


@BOTH
def test_color_helps_steady_plans(planner):
    few = replace(planner, num_iterations=1, init_std=1.0)
    far = Quadratic(optimum=torch.full((64, 6, 2), 1.5))
    init = torch.zeros(64, 6, 2)
    red, white = (_plan(replace(few, color=c), far, init=init).cost.mean() for c in (2.0, 0.0))
    assert red < white


def test_momentum_averages_the_zigzag_out_in_a_narrow_valley():
    def cost(actions):
        return 0.02 * (actions[..., 0] - 3).square().sum(-1) + (actions[..., 1] - 0.3).square().sum(
            -1
        )

    planner = GradientDescent(num_starts=1, num_iterations=30)
    plain, averaged = (
        _plan(replace(planner, momentum=part), cost, init=torch.zeros(4, 2, 2)).cost.mean()
        for part in (0.0, 0.5)
    )
    assert float(averaged) < 0.1 * float(plain)


def test_adam_equals_the_optimiser_of_torch():
    planner = Adam(num_starts=1, num_iterations=1)
    seen = []

    def cost(actions):
        seen.append(actions.detach().clone())
        return PROBLEM(actions)

    _plan(replace(planner, num_iterations=2), cost)
    parameter = torch.zeros_like(PROBLEM.optimum)[:, None].requires_grad_()
    optimizer = torch.optim.Adam([parameter], lr=0.3, betas=(0.9, 0.99))
    PROBLEM(parameter).sum().backward()
    optimizer.step()
    torch.testing.assert_close(seen[1], parameter.detach())


def test_refining_takes_the_cheapest_descents_further():
    """Of starts on both sides of a ridge only those in the deeper valley are left for the rest."""
    seen = []

    def cost(actions):
        seen.append(actions.detach()[..., 0, 0])
        return _two_valleys(actions)

    planner = GradientDescent(num_starts=8, num_iterations=3, init_std=1.5)
    refining = replace(planner, num_refined=2, refine_iterations=9, refine_rate=0.1)
    plan = _plan(refining, cost, init=torch.full((4, 1, 1), -0.5))
    assert [found.shape[1] for found in seen] == 3 * [8] + 9 * [2]
    values = torch.stack([_two_valleys(found[..., None, None]) for found in seen[:3]])
    lowest = values.amin(0).sort(1).values[:, :2]  # [B, 2], of the starts' best iterates
    torch.testing.assert_close(_two_valleys(seen[3][..., None, None]), lowest)
    assert (seen[4] - seen[3]).abs().max() <= 0.1  # the second half cosine begins at refine_rate
    assert len(plan.history) == 12
    torch.testing.assert_close(plan.cost, plan.history.amin(0))


def test_refining_beats_as_many_steps_of_all_in_a_narrow_valley():
    def cost(actions):
        ridges = torch.sin(4 * actions[..., 1]).square()
        return 0.02 * (actions[..., 0] - 3).square().sum(-1) + ridges.sum(-1)

    init = torch.zeros(64, 4, 2)
    all_along = GradientDescent(num_starts=10, num_iterations=29)
    refining = replace(all_along, num_iterations=20, num_refined=2, refine_iterations=45)
    rest, some = (_plan(p, cost, init=init).cost.mean() for p in (all_along, refining))
    assert float(some) < 0.5 * float(rest)


def test_action_decay_shrinks_what_the_cost_does_not_ask_for():
    def cost(actions):
        return (actions[..., 0] - 1.5).square().sum(-1)

    planner = GradientDescent(num_starts=1, num_iterations=40)
    free, decayed = (
        _plan(replace(planner, action_decay=part), cost, init=torch.ones(4, 3, 2)).actions
        for part in (0.0, 0.2)
    )
    assert (free[..., 1] == 1.0).all()
    assert (decayed[..., 1] < 0.5).all()
    assert (decayed[..., 0] > 1.2).all()


def test_more_refined_than_started_is_refused():
    with pytest.raises(UserError, match=r"num_refined = 9 is more than planner.num_starts = 8"):
        GradientDescent(num_refined=9)


def test_gradient_steps_do_not_depend_on_the_scale_of_the_cost():
    tiny = _plan(GradientDescent(), lambda actions: 1e-9 * PROBLEM(actions))
    torch.testing.assert_close(tiny.actions, _plan(GradientDescent()).actions, atol=1e-4, rtol=0)


def test_the_reference_takes_raw_steps_and_returns_the_last():
    """Two steps by hand without noise: a <- a - lr * 2 (a - optimum)."""
    reference = ReferenceGD(num_iterations=2, learning_rate=0.25, noise_std=0.0, init_std=0.0)
    plan = _plan(reference)
    torch.testing.assert_close(plan.actions, torch.full_like(plan.actions, 1.5 * 0.75))
    tiny = _plan(reference, lambda actions: 1e-3 * PROBLEM(actions))
    assert float(tiny.actions.abs().max()) < 0.01  # a cost that is a small mean: no movement
    overshot = _plan(replace(reference, learning_rate=1.1, num_iterations=5))
    assert (overshot.cost > overshot.history.amin(0)).all()


def test_the_references_adam_is_its_gradient_descent():
    fields = {"num_iterations": 7, "learning_rate": 0.1, "noise_std": 0.01, "init_std": 0.5}
    first, second = (_plan(kind(**fields)) for kind in (ReferenceAdam, ReferenceGD))
    assert torch.equal(first.actions, second.actions)
