"""The hybrid: each part does what the other cannot."""

from dataclasses import replace

import torch

from jepawm.planning.gradient import GradientDescent
from jepawm.planning.hybrid import Hybrid
from jepawm.planning.icem import ICEM

HYBRID = Hybrid(
    sampler=ICEM(num_samples=64, num_iterations=4, num_elites=4, color=0.0, init_std=2.0),
    refiner=GradientDescent(num_starts=2, num_iterations=30, learning_rate=0.2, init_std=0.1),
)


def _cost(actions):
    """A narrow valley of depth 0 at 2 behind a broad one of depth 1 at -1."""
    first = actions[..., 0, 0]
    deep = 2.0 * (first - 2.0).square() + 0.1 * actions[..., 1].square().sum(-1)
    return torch.minimum(deep, 1.0 + 0.2 * (first + 1.0).square())


def _plan(planner):
    init = torch.full((4, 2, 2), -0.5)
    return planner.plan(_cost, init, bounds=None, generator=torch.Generator().manual_seed(0))


def test_both_parts_together_find_the_floor_of_the_deeper_valley():
    both, sampled, descended = (_plan(p) for p in (HYBRID, HYBRID.sampler, HYBRID.refiner))
    assert (both.cost < 1e-2).all()
    assert both.cost.mean() < 0.3 * sampled.cost.mean()
    assert (descended.cost > 0.5).all()
    assert len(both.history) == 4 + 30
    assert (both.cost <= sampled.cost).all()


def test_a_time_budget_is_shared_and_a_late_refiner_left_out(monkeypatch):
    now, seconds = [0.0], 0.001

    def tick() -> float:
        now[0] += seconds
        return now[0]

    for module in ("search", "limits", "hybrid"):
        monkeypatch.setattr(f"jepawm.planning.{module}.perf_counter", tick)
    plan = _plan(replace(HYBRID, time_budget_s=0.04))
    assert now[0] < 0.05
    assert 4 < len(plan.history) < 34
    now[0], seconds = 0.0, 0.01  # the sampler's first chunk takes half of the time
    assert len(_plan(replace(HYBRID, time_budget_s=0.04)).history) < 4
