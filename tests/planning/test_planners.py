"""Every planner on problems with a known optimum, and on bad input."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from jepawm.errors import UserError
from jepawm.planning import PLANNERS
from jepawm.planning.ask_tell import CMAES, Nevergrad
from jepawm.planning.cem import CEM
from jepawm.planning.gradient import Adam, GradientDescent
from jepawm.planning.hybrid import Hybrid
from jepawm.planning.icem import ICEM
from jepawm.planning.mppi import MPPI
from jepawm.planning.random_shooting import RandomShooting
from jepawm.planning.reference_gradient import ReferenceAdam, ReferenceGD
from jepawm.testing import Quadratic, WalledPointMass

PLANNED = {
    "adam": Adam(num_iterations=100),
    "cem": CEM(),
    "cma": CMAES(num_samples=64, num_iterations=60),
    "gd": GradientDescent(num_starts=16, num_iterations=40, init_std=1.0),
    "hybrid": Hybrid(refiner=GradientDescent(num_iterations=40, init_std=0.3)),
    "icem": ICEM(num_iterations=40, decay=1.0),
    "mppi": MPPI(),
    "nevergrad": Nevergrad(num_samples=24, num_iterations=40),
    "random_shooting": RandomShooting(num_samples=30_000),
    "reference_adam": ReferenceAdam(learning_rate=0.05),
    "reference_gd": ReferenceGD(learning_rate=0.05),
}
"""One of each, with a budget that is enough for the problems here."""

QUADRATIC = Quadratic(
    optimum=torch.tensor([[[0.5, -1.0], [1.5, 0.2]], [[-0.3, 0.9], [0.0, -1.4]]])  # [2, 2, 2]
)
WALL = WalledPointMass(
    start=torch.tensor([[-2.0, 0.0], [1.5, -1.0]]),
    goal=torch.tensor([[2.0, 0.5], [-2.0, 1.0]]),
    door=torch.tensor([1.0, -0.5]),
)
BOUNDS = (torch.tensor([-0.4, -float("inf")]), torch.tensor([0.4, float("inf")]))

every_planner = pytest.mark.parametrize("name", sorted(PLANNED))
gradient_planner = pytest.mark.parametrize(
    "name", [name for name in sorted(PLANNED) if PLANNED[name].needs_gradients]
)


def _plan(planner, cost=QUADRATIC, *, init=None, bounds=None, seed=0):
    init = torch.zeros_like(QUADRATIC.optimum) if init is None else init
    generator = torch.Generator().manual_seed(seed)
    return planner.plan(cost, init, bounds=bounds, generator=generator)


def test_all_are_here():
    assert sorted([*PLANNED, "best_of"]) == PLANNERS.names()  # it finds nothing by itself
    assert all(PLANNERS.get(name) is type(planner) for name, planner in PLANNED.items())


@every_planner
def test_quadratic(name):
    plan = _plan(PLANNED[name])
    accuracy = 0.1 if name == "random_shooting" else 0.02
    torch.testing.assert_close(plan.actions, QUADRATIC.optimum, atol=accuracy, rtol=0)
    torch.testing.assert_close(plan.cost, QUADRATIC(plan.actions[:, None])[:, 0])
    assert plan.history.shape[1] == 2
    assert plan.num_dropped == 0


@pytest.mark.filterwarnings("ignore:Bounds are")  # Nevergrad's advice on narrow bounds
@every_planner
def test_bounded_quadratic(name):
    plan = _plan(PLANNED[name], bounds=BOUNDS)
    expected = QUADRATIC.optimum.clone()
    expected[..., 0] = expected[..., 0].clamp(-0.4, 0.4)
    accuracy = 0.1 if name == "random_shooting" else 0.03
    torch.testing.assert_close(plan.actions, expected, atol=accuracy, rtol=0)
    assert (plan.actions >= BOUNDS[0]).all()
    assert (plan.actions <= BOUNDS[1]).all()


@every_planner
def test_point_mass_passes_the_door(name):
    plan = _plan(PLANNED[name], WALL, init=torch.zeros(2, 6, 2))
    assert (plan.cost < 0.01).all()
    x, y = WALL.positions(plan.actions[:, None])[:, 0].unbind(-1)
    torch.testing.assert_close(torch.stack([x, y], -1)[:, -1], WALL.goal, atol=0.1, rtol=0)
    for problem in range(2):
        (crossing,) = (x[problem, 1:].sign() != x[problem, :-1].sign()).nonzero().flatten()
        between = y[problem, crossing : crossing + 2]
        assert between.min() < WALL.door[problem] + 0.4
        assert between.max() > WALL.door[problem] - 0.4


@every_planner
def test_same_generator_same_plan(name):
    fields = {"num_samples": 8, "num_elites": 2, "num_iterations": 3, "num_starts": 2}
    known = {key: value for key, value in fields.items() if hasattr(PLANNED[name], key)}
    planner = replace(PLANNED[name], **known)
    before = torch.get_rng_state(), np.random.get_state()[1].tolist()  # noqa: NPY002
    first, again, other = (_plan(planner, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(first.actions, again.actions)
    assert not torch.equal(first.actions, other.actions)
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == np.random.get_state()[1].tolist()  # noqa: NPY002


@pytest.mark.parametrize("name", [name for name in sorted(PLANNED) if "reference" not in name])
def test_nan_costs_are_dropped_and_counted(name):
    """The optimum lies where the cost is a number; half of the space gives none."""
    quadratic = Quadratic(optimum=torch.full((2, 1, 2), 0.7))

    def cost(actions):
        return torch.where(actions[..., 0, 0] < 0.0, torch.nan, quadratic(actions))

    planner = PLANNED[name]
    if name == "random_shooting":
        planner = RandomShooting(num_samples=3000)
    plan = _plan(planner, cost, init=torch.full((2, 1, 2), 0.1))
    torch.testing.assert_close(plan.actions, quadratic.optimum, atol=0.05, rtol=0)
    assert plan.num_dropped > 0


@every_planner
def test_all_nan_is_an_error(name):
    def cost(actions):
        return QUADRATIC(actions) * torch.tensor([[1.0], [torch.nan]])

    with pytest.raises(UserError, match="every candidate of problem 1"):
        _plan(PLANNED[name], cost)


@every_planner
def test_bad_problems_are_refused(name):
    planner = PLANNED[name]
    with pytest.raises(UserError, match="horizon is 0"):
        _plan(planner, init=torch.zeros(2, 0, 2))
    with pytest.raises(UserError, match=r"dimension 0: low 1\.0 is not below high -1\.0"):
        _plan(planner, bounds=(torch.tensor([1.0, 0.0]), torch.tensor([-1.0, 0.0])))


@every_planner
def test_bad_fields_are_refused(name):
    planner = PLANNED[name]
    for field in ("num_samples", "num_iterations", "num_starts", "num_elites"):
        if hasattr(planner, field):
            with pytest.raises(UserError, match=rf"planner\.{field} = 0"):
                replace(planner, **{field: 0})
    for field in ("init_std", "learning_rate", "temperature", "time_budget_s", "color", "min_std"):
        if hasattr(planner, field):
            with pytest.raises(UserError, match=field):
                replace(planner, **{field: -1.0})
    for field in ("num_kept", "patience", "action_repeat"):
        if hasattr(planner, field):
            with pytest.raises(UserError, match=rf"planner\.{field} = -1"):
                replace(planner, **{field: -1})
    if hasattr(planner, "num_elites"):
        with pytest.raises(UserError, match=r"planner\.num_elites = 1001 is more than"):
            replace(planner, num_elites=1001)


@gradient_planner
def test_a_cost_without_gradients_is_refused(name):
    with pytest.raises(UserError, match="follows gradients, and the cost gives none"):
        _plan(PLANNED[name], lambda actions: QUADRATIC(actions.detach()))


@gradient_planner
def test_gradients_work_where_the_caller_has_turned_them_off(name):
    with torch.no_grad():
        plan = _plan(PLANNED[name])
    assert (plan.cost < 0.01).all()
    assert not plan.actions.requires_grad


@every_planner
def test_time_budget_ends_the_search(name, monkeypatch):
    """With a clock that ticks at each look, nobody does more than the budget allows."""
    if not hasattr(PLANNED[name], "time_budget_s"):
        pytest.skip("reproduces the reference, which has no budget")
    now = [0.0]

    def tick() -> float:
        now[0] += 0.001
        return now[0]

    for module in ("search", "limits", "hybrid"):
        monkeypatch.setattr(f"jepawm.planning.{module}.perf_counter", tick)
    fields = {"num_iterations": 30} if hasattr(PLANNED[name], "num_iterations") else {}
    plenty = _plan(replace(PLANNED[name], time_budget_s=1e6, **fields))
    now[0] = 0.0
    plan = _plan(replace(PLANNED[name], time_budget_s=0.05, **fields))
    assert now[0] < 0.06
    assert len(plan.history) < len(plenty.history)
    torch.testing.assert_close(plan.cost, QUADRATIC(plan.actions[:, None])[:, 0])


@pytest.mark.parametrize("name", ["adam", "cem", "gd", "hybrid", "icem", "mppi"])
def test_proposals_are_where_a_search_starts(name):
    """With a search too narrow and too short to come near, a proposal at the optimum is found."""
    known = {"num_iterations": 1, "num_samples": 8, "num_elites": 4, "num_starts": 4}
    planner = replace(
        PLANNED[name],
        num_proposals=2,
        **{key: value for key, value in known.items() if hasattr(PLANNED[name], key)},
    )
    if name == "hybrid":
        planner = replace(
            planner,
            sampler=replace(planner.sampler, num_samples=8, num_elites=4, num_iterations=1),
            refiner=replace(planner.refiner, num_iterations=1),
        )
    far, there = torch.full_like(QUADRATIC.optimum, 3.0), QUADRATIC.optimum
    init = torch.full_like(far, 3.0)
    arguments = {"bounds": None, "generator": torch.Generator().manual_seed(0)}
    alone = planner.plan(QUADRATIC, init, **arguments)
    assert (alone.cost > 0.5).all()
    plan = planner.plan(QUADRATIC, init, proposals=torch.stack([there, far], 1), **arguments)
    assert (plan.cost < 0.25 * alone.cost).all()
    second = planner.plan(QUADRATIC, init, proposals=torch.stack([far, there], 1), **arguments)
    if name not in ("cem", "mppi"):  # they return a mean of several candidates
        assert (second.cost < 0.25 * alone.cost).all()


@pytest.mark.parametrize("name", ["adam", "cem", "gd", "hybrid", "icem", "mppi"])
def test_a_negative_number_of_proposals_is_refused(name):
    with pytest.raises(UserError, match=r"planner\.num_proposals = -1; give at least 0"):
        replace(PLANNED[name], num_proposals=-1)


def test_more_proposals_than_candidates_are_cut():
    planner = CEM(num_samples=3, num_elites=2, num_iterations=1, num_proposals=5)
    proposals = QUADRATIC.optimum[:, None] + torch.arange(5.0)[:, None, None]
    plan = planner.plan(
        QUADRATIC,
        torch.zeros_like(QUADRATIC.optimum),
        bounds=None,
        generator=torch.Generator().manual_seed(0),
        proposals=proposals,
    )
    assert plan.history[0].tolist() == [0.0, 0.0]


def test_a_trust_region_keeps_a_descent_near_its_start():
    planner = GradientDescent(num_starts=1, num_iterations=30, init_std=0.0, trust_region=0.1)
    init = torch.zeros_like(QUADRATIC.optimum)
    plan = _plan(planner, init=init)
    assert float(plan.actions.abs().max()) == pytest.approx(0.1)
    assert torch.equal(plan.actions.sign(), QUADRATIC.optimum.sign())
    with pytest.raises(UserError, match=r"planner\.trust_region = 0\.0; give a number above 0"):
        replace(planner, trust_region=0.0)
