"""CEM on problems with a known optimum, its options, bad input, and the golden traces."""

import logging

import pytest
import torch

from jepawm.errors import UserError
from jepawm.golden.runner import run_file
from jepawm.planning import PLANNERS
from jepawm.planning.cem import CEM


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _quadratic(optimum: torch.Tensor):
    """Cost `[B, K]`: squared distance to the optimum `[B, H, A]`."""
    return lambda actions: (actions - optimum[:, None]).square().sum((-2, -1))


OPTIMUM = torch.tensor([[[0.5, -1.0], [1.5, 0.2]], [[-0.3, 0.9], [0.0, -2.0]]])  # [2, 2, 2]


def _plan(planner, cost, init=None, bounds=None, seed=0):
    init = torch.zeros_like(OPTIMUM) if init is None else init
    return planner.plan(cost, init, bounds=bounds, generator=_generator(seed))


def test_reaches_the_optimum_of_a_quadratic_for_every_problem():
    plan = _plan(CEM(), _quadratic(OPTIMUM))
    torch.testing.assert_close(plan.actions, OPTIMUM, atol=1e-2, rtol=0)
    torch.testing.assert_close(plan.cost, _quadratic(OPTIMUM)(plan.actions[:, None])[:, 0])
    assert plan.history.shape == (30, 2)
    assert (plan.history[-1] < 1e-3).all()
    assert plan.history[0].min() > 0.1


def test_drives_a_linear_point_mass_to_its_goal():
    goal = torch.tensor([[2.0, -1.0], [0.0, 3.0], [-4.0, 1.0]])  # [3, 2]

    def cost(actions):  # position and velocity under acceleration, 6 steps
        position = velocity = torch.zeros(1, 1, 2)
        for acceleration in actions.unbind(2):
            velocity = velocity + 0.5 * acceleration
            position = position + velocity
        return (position - goal[:, None]).square().sum(-1)

    plan = _plan(CEM(), cost, init=torch.zeros(3, 6, 2))
    assert (plan.cost < 1e-2).all()


def test_respects_bounds_and_finds_the_constrained_optimum():
    bounds = (torch.tensor([-0.4, -float("inf")]), torch.tensor([0.4, float("inf")]))
    plan = _plan(CEM(), _quadratic(OPTIMUM), bounds=bounds)
    expected = OPTIMUM.clone()
    expected[..., 0] = expected[..., 0].clamp(-0.4, 0.4)
    torch.testing.assert_close(plan.actions, expected, atol=2e-2, rtol=0)
    assert (plan.actions >= bounds[0]).all()
    assert (plan.actions <= bounds[1]).all()


def test_a_guess_outside_the_bounds_is_moved_inside():
    bounds = (torch.full((2,), -0.1), torch.full((2,), 0.1))
    planner = CEM(num_iterations=1, momentum_mean=0.9)
    plan = _plan(planner, _quadratic(OPTIMUM), init=torch.full_like(OPTIMUM, 5.0), bounds=bounds)
    assert plan.actions.abs().max() <= torch.tensor(0.1)


def test_one_step_by_hand():
    """Three samples in one dimension; the two best are 1 and 2: mean 1.5, unbiased std 0.7071."""
    planner = CEM(num_samples=3, num_elites=2, num_iterations=1)
    noise = torch.tensor([9.0, 1.0, 2.0]).reshape(1, 3, 1, 1)
    state = planner.start(torch.full((1, 1, 1), -1.0))
    step = planner.step(
        state, noise + 1.0, cost=_quadratic(torch.full((1, 1, 1), 1.5)), bounds=None
    )
    # sample 0 is the mean (-1); the others are -1 + noise
    assert step.samples.flatten().tolist() == [-1.0, 1.0, 2.0]
    assert sorted(step.elites[0].tolist()) == [1, 2]
    assert float(step.state.mean) == pytest.approx(1.5)
    assert float(step.state.std) == pytest.approx(0.5**0.5)


def test_momentum_keeps_part_of_the_old_distribution():
    noise = torch.randn(1, 8, 1, 1, generator=_generator())
    cost = _quadratic(torch.ones(1, 1, 1))
    plain = CEM(num_samples=8, num_elites=3)
    moved = CEM(num_samples=8, num_elites=3, momentum_mean=0.25, momentum_std=0.5)
    state = plain.start(torch.full((1, 1, 1), -2.0))
    new = plain.step(state, noise, cost=cost, bounds=None).state
    mixed = moved.step(state, noise, cost=cost, bounds=None).state
    torch.testing.assert_close(mixed.mean, 0.75 * new.mean + 0.25 * state.mean)
    torch.testing.assert_close(mixed.std, 0.5 * new.std + 0.5 * state.std)


def test_min_std_keeps_searching():
    kept = CEM(min_std=0.2, num_iterations=20)
    state = kept.start(torch.zeros(1, 1, 1))
    for _ in range(20):
        noise = torch.randn(1, 300, 1, 1, generator=_generator(1))
        state = kept.step(state, noise, cost=_quadratic(torch.ones(1, 1, 1)), bounds=None).state
    assert float(state.std) == pytest.approx(0.2)


def test_same_generator_same_plan():
    first, again, other = (
        _plan(CEM(num_iterations=3), _quadratic(OPTIMUM), seed=s) for s in (0, 0, 1)
    )
    assert torch.equal(first.actions, again.actions)
    assert not torch.equal(first.actions, other.actions)


def test_nan_costs_are_dropped_and_counted(caplog):
    optimum = OPTIMUM.clone()
    optimum[1, 0, 0] = 0.3
    with caplog.at_level(logging.WARNING):
        plan = _plan(
            CEM(), lambda a: torch.where(a[..., 0, 0] < 0.0, torch.nan, _quadratic(optimum)(a))
        )
    torch.testing.assert_close(plan.actions, optimum, atol=2e-2, rtol=0)
    assert plan.num_dropped > 100
    assert f"dropped {plan.num_dropped} of" in caplog.text


def test_fewer_usable_candidates_than_elites():
    planner = CEM(num_samples=8, num_elites=6, num_iterations=1)
    noise = torch.randn(1, 8, 1, 1, generator=_generator())

    def cost(actions):
        values = torch.full(actions.shape[:2], torch.nan)
        values[:, 2], values[:, 5] = 1.0, 2.0
        return values

    step = planner.step(planner.start(torch.zeros(1, 1, 1)), noise, cost=cost, bounds=None)
    both = noise[0, [2, 5], 0, 0]
    assert float(step.state.mean) == pytest.approx(float(both.mean()))
    assert float(step.state.std) == pytest.approx(float(both.std()))
    assert int(step.cost.isinf().sum()) == 6


def test_all_nan_is_an_error():
    def cost(actions):
        values = _quadratic(OPTIMUM)(actions)
        values[1] = torch.nan
        return values

    with pytest.raises(UserError, match="every candidate of problem 1"):
        _plan(CEM(num_iterations=2), cost)


@pytest.mark.parametrize(
    "fields",
    [
        {"num_samples": 0},
        {"num_elites": 301},
        {"num_elites": 1},
        {"num_iterations": 0},
        {"init_std": 0.0},
        {"min_std": -0.1},
        {"momentum_mean": 1.0},
        {"momentum_std": -0.1},
    ],
)
def test_bad_fields_are_refused(fields: dict):
    with pytest.raises(UserError, match=next(iter(fields))):
        CEM(**fields)


def test_horizon_zero_is_refused():
    with pytest.raises(UserError, match="horizon is 0"):
        _plan(CEM(), _quadratic(OPTIMUM), init=torch.zeros(2, 0, 2))


@pytest.mark.parametrize(
    ("low", "high", "message"),
    [
        ([0.0, 1.0], [1.0, 0.0], "dimension 1"),
        ([0.0, float("nan")], [1.0, 1.0], "dimension 1"),
        ([0.0], [1.0], None),
    ],
)
def test_bad_bounds_are_refused(low, high, message):
    # Under jaxtyping a wrong width is caught even earlier.
    with pytest.raises((UserError, TypeError), match=message):
        _plan(CEM(), _quadratic(OPTIMUM), bounds=(torch.tensor(low), torch.tensor(high)))


def test_found_by_name():
    assert PLANNERS.get("cem") is CEM


@pytest.mark.parametrize("name", ["cem_clamp", "cem_no_clamp"])
def test_golden(golden_dir, name):
    result = run_file(golden_dir / f"{name}.npz", name=name)
    assert result.verdict == "pass", result.message
    assert len(result.comparisons) == 25
