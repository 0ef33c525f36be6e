"""iCEM: what each of its options is good for."""

from dataclasses import replace

import pytest
import torch

from jepawm.errors import UserError
from jepawm.planning.icem import ICEM

PLAIN = ICEM(
    num_samples=24,
    num_elites=6,
    num_iterations=4,
    color=0.0,
    decay=1.0,
    num_kept=0,
    momentum_mean=0.0,
    momentum_std=0.0,
)
INIT = torch.zeros(32, 6, 4)  # many problems: means over them are steady


def _steady(actions):
    """Return the squared distance to 0.7 in every entry, for plans of any length."""
    return (actions - 0.7).square().sum((-2, -1))


def _plan(planner, cost=_steady, *, init=INIT, bounds=None):
    generator = torch.Generator().manual_seed(0)
    return planner.plan(cost, init, bounds=bounds, generator=generator)


def _mean_cost(planner, cost=_steady) -> float:
    return float(_plan(planner, cost).cost.mean())


def test_colored_noise_finds_steady_plans_sooner():
    assert _mean_cost(replace(PLAIN, color=2.0)) < 0.8 * _mean_cost(PLAIN)


def test_kept_elites_are_not_lost():
    """With one elite kept, the best cost never rises and no candidate is paid for twice."""
    kept = replace(PLAIN, num_samples=12, num_kept=3, num_iterations=8)
    seen = []

    def cost(actions):
        seen.append(actions.shape[1])
        return _steady(actions)

    plan = _plan(kept, cost)
    assert seen == [12] * 8
    assert _mean_cost(kept) < _mean_cost(replace(kept, num_kept=0))
    torch.testing.assert_close(plan.cost, plan.history.amin(0))


def test_decay_draws_fewer_candidates_down_to_twice_the_elites():
    seen = []

    def cost(actions):
        seen.append(actions.shape[1])
        return _steady(actions)

    _plan(replace(PLAIN, decay=1.25, num_iterations=5), cost)
    assert seen == [24, 19, 15, 12, 12]


def test_momentum_and_least_std_slow_the_search_down():
    for slow in (replace(PLAIN, momentum_mean=0.9), replace(PLAIN, min_std=1.0)):
        assert _mean_cost(replace(slow, num_iterations=8)) > 1.2 * _mean_cost(
            replace(PLAIN, num_iterations=8)
        )


def test_least_std_escapes_a_narrow_start():
    narrow = replace(PLAIN, init_std=0.01, num_iterations=10)
    assert _mean_cost(replace(narrow, min_std=0.2)) < 0.8 * _mean_cost(narrow)


def test_patience_ends_the_search_once_nothing_improves():
    """The cost falls with every iteration up to the tenth, whatever the candidates are."""
    num_iterations = 0

    def cost(actions):
        nonlocal num_iterations
        num_iterations += 1
        return torch.full(actions.shape[:2], -float(min(num_iterations, 10)))

    plan = _plan(replace(PLAIN, num_iterations=200, patience=5), cost)
    assert len(plan.history) == 10 + 5
    assert (plan.cost == -10.0).all()


def test_action_repeat_searches_fewer_numbers():
    """A block of two environment actions of width 2: both are the same, and twice as few."""
    repeated = replace(PLAIN, action_repeat=2)
    plan = _plan(repeated)
    torch.testing.assert_close(plan.actions[..., :2], plan.actions[..., 2:])
    assert float(plan.cost.mean()) < 0.7 * _mean_cost(PLAIN)
    torch.testing.assert_close(plan.cost, _steady(plan.actions[:, None])[:, 0])
    with pytest.raises(UserError, match=r"planner\.action_repeat = 3 does not divide"):
        _plan(replace(PLAIN, action_repeat=3))


def test_action_repeat_keeps_the_bounds_of_every_repetition():
    low, high = torch.tensor([-1.0, -1.0, -0.2, -1.0]), torch.tensor([1.0, 0.3, 1.0, 1.0])
    plan = _plan(replace(PLAIN, action_repeat=2, num_iterations=10), bounds=(low, high))
    assert (plan.actions >= low).all()
    assert (plan.actions <= high).all()
    assert float(plan.actions[..., 1].max()) == pytest.approx(0.3)
