"""One search: the best so far, dropped candidates, patience, and the clock."""

import logging

import pytest
import torch

from jepawm.errors import UserError
from jepawm.planning.limits import FIRST_CHUNK, Limits
from jepawm.planning.search import Search

INIT = torch.zeros(2, 1, 1)


def _search(cost, **limits) -> Search:
    return Search(cost, INIT, bounds=None, limits=Limits(**({"num_iterations": 10} | limits)))


def _values(*rows) -> torch.Tensor:
    return torch.tensor(rows)[:, :, None, None]  # [B, K, 1, 1]


def _first_entry(actions):
    return actions[..., 0, 0]


def test_remembers_the_best_of_each_problem_and_the_history():
    search = _search(_first_entry)
    for rows in (([3.0, 2.0], [5.0, 9.0]), ([4.0, 6.0], [1.0, 7.0])):
        search.evaluate(_values(*rows))
    plan = search.best_plan()
    assert plan.actions.flatten().tolist() == plan.cost.tolist() == [2.0, 1.0]
    assert plan.history.tolist() == [[2.0, 5.0], [4.0, 1.0]]


def test_dropped_candidates_are_counted_once(caplog):
    search = _search(_first_entry)
    cost = search.evaluate(_values([float("nan"), 2.0], [float("-inf"), 9.0]))
    assert cost.tolist() == [[float("inf"), 2.0], [float("inf"), 9.0]]
    with caplog.at_level(logging.WARNING):
        assert search.best_plan().num_dropped == 2
    assert "dropped 2 of 4 candidates" in caplog.text


def test_patience_counts_iterations_in_which_no_problem_improves():
    search = _search(_first_entry, patience=2)
    rows = iter([5.0, 4.0, 4.0, 3.0, 3.0, 3.5, 1.0])
    for _ in search.iterations():
        search.evaluate(_values([next(rows)], [9.0]))
    assert search.best_plan().history[:, 0].tolist() == [5.0, 4.0, 4.0, 3.0, 3.0, 3.5]


def test_without_patience_all_iterations_are_done():
    search = _search(_first_entry)
    for _ in search.iterations():
        search.evaluate(_values([1.0], [1.0]))
    assert len(search.best_plan().history) == 10


class Clock:
    """A clock that only evaluations move: `fixed` seconds each, and `each` per candidate."""

    def __init__(self, monkeypatch, *, fixed: float, each: float) -> None:
        self.now, self.fixed, self.each, self.chunks = 0.0, fixed, each, []
        for module in ("search", "limits"):
            monkeypatch.setattr(f"jepawm.planning.{module}.perf_counter", lambda: self.now)

    def cost(self, actions):
        self.now += self.fixed + self.each * actions.shape[1]
        self.chunks.append(actions.shape[1])
        return _first_entry(actions)


@pytest.mark.parametrize("fixed", [0.0, 0.005])
@pytest.mark.parametrize("num_samples", [8, 300])
def test_a_time_budget_is_kept_and_used(monkeypatch, fixed, num_samples):
    clock = Clock(monkeypatch, fixed=fixed, each=1e-4)
    search = _search(clock.cost, time_budget_s=0.05)
    for _ in search.iterations():
        search.evaluate(torch.rand(2, num_samples, 1, 1))
    assert clock.now <= 0.05
    enough = 10 * (fixed + num_samples * 1e-4)
    assert clock.now >= min(0.7 * 0.05, 0.9 * enough)
    assert clock.chunks[0] == min(FIRST_CHUNK, num_samples)


def test_each_iteration_has_its_share_of_the_time(monkeypatch):
    clock = Clock(monkeypatch, fixed=0.0, each=1e-4)
    search = _search(clock.cost, time_budget_s=0.05, num_iterations=5)
    ends = []
    for _ in search.iterations():
        cost = search.evaluate(torch.rand(2, 300, 1, 1))
        assert 60 < int(cost[0].isfinite().sum()) <= 101
        ends.append(clock.now)
    assert ends == pytest.approx([0.01, 0.02, 0.03, 0.04, 0.05], abs=0.003)


def test_candidates_that_were_not_evaluated_are_not_dropped_ones(monkeypatch):
    clock = Clock(monkeypatch, fixed=0.0, each=1.0)
    search = _search(clock.cost, time_budget_s=0.5)
    cost = search.evaluate(torch.rand(2, 100, 1, 1))
    assert int(cost[0].isfinite().sum()) == FIRST_CHUNK
    assert search.best_plan().num_dropped == 0


@pytest.mark.parametrize("budget", [0.01, 0.05, 0.2, 1.0])
@pytest.mark.parametrize(("fixed", "each"), [(0.02, 0.002), (0.0, 0.02), (0.02, 0.0)])
def test_a_slow_model_overdraws_by_one_candidate_at_most(monkeypatch, budget, fixed, each):
    clock = Clock(monkeypatch, fixed=fixed, each=each)
    search = _search(clock.cost, time_budget_s=budget)
    for _ in search.iterations():
        search.evaluate(torch.rand(2, 300, 1, 1))
    assert clock.chunks[0] == 1
    assert clock.now <= max(budget, fixed + each)
    assert clock.now >= 0.5 * budget or sum(clock.chunks) > 0.9 * 10 * 300
    assert search.best_plan().cost.isfinite().all()


def test_chunks_grow_with_what_a_larger_one_is_seen_to_cost(monkeypatch):
    clock = Clock(monkeypatch, fixed=0.02, each=0.0005)
    search = _search(clock.cost, time_budget_s=0.5, num_iterations=2)
    for _ in search.iterations():
        search.evaluate(torch.rand(2, 3000, 1, 1))
    assert clock.chunks[:3] == [1, 4, 16]
    assert sum(clock.chunks) > 0.5 * (0.5 / 0.0005)


def test_one_slow_gradient_does_not_end_a_descent(monkeypatch):
    """What is left of the time is compared with the fastest gradient so far, not with the last."""
    now, durations = 0.0, iter([1.0, 1.0, 7.0, 1.0, 1.0, 1.0, 1.0])
    for module in ("search", "limits"):
        monkeypatch.setattr(f"jepawm.planning.{module}.perf_counter", lambda: now)

    def cost(actions):
        nonlocal now
        now += next(durations)
        return _first_entry(actions)

    search = _search(cost, time_budget_s=12.0)
    for _ in search.iterations():
        search.gradient(_values([1.0], [1.0]))
    assert now == 11.0
    assert len(search.best_plan().history) == 5


def test_limits_out_of_range_are_refused():
    for name, value in (("num_iterations", 0), ("patience", -1), ("time_budget_s", 0.0)):
        with pytest.raises(UserError, match=rf"planner\.{name} = {value}"):
            Limits(**({"num_iterations": 1} | {name: value})).check()
