"""Plans of one size: in every precision, not compiled, compiled, and with CUDA graphs."""

from collections.abc import Mapping, Sequence
from math import inf, isnan
from statistics import median
from typing import Any

from child import Child, ChildError
from rows import Run
from scale import Plans
from turns import Turn, spread, take_turns

COST_BOUND = 1e-4
"""Largest difference of float32 costs, compiled from not compiled, as a fraction of the largest."""


def start_plans(run: Run, plans: Plans) -> dict[str, Child]:
    """Start one process for what is not compiled and one for each that is."""
    groups = {"eager": [(precision, "off") for precision in plans.eager]}
    groups |= {f"{precision}/{mode}": [(precision, mode)] for precision, mode in plans.compiled}
    return {
        name: run.child(
            "plan_worker.py",
            f"{plans.size}-{name}",
            size=plans.size,
            configs=configs,
            num_samples=plans.num_samples,
            num_iterations=plans.num_iterations,
            horizon=plans.horizon,
            num_compared=plans.chunk,
            max_memory_bytes=plans.max_memory_bytes,
        )
        for name, configs in groups.items()
    }


def measure_plans(run: Run, plans: Plans, children: Mapping[str, Child], ready: float) -> None:
    """Measure the plans of one size in turns, with the peaks before and after."""
    turns: list[Turn] = []
    costs: dict[str, list[float]] = {}
    for name, child in children.items():
        try:
            answer: dict[str, Any] = child.answer(until=ready)
        except ChildError as error:
            run.row("plan", size=plans.size, config=name, error=str(error))
            child.close()
            continue
        for config, about in answer["about"].items():
            if "error" in about:
                run.row("plan", size=plans.size, config=config, **about)
                continue
            costs[config] = about.pop("costs")
            precision, mode = config.split("/")
            turns.append(Turn(
                child=child,
                request={"do": "plan", "config": config},
                about={"size": plans.size, "precision": precision, "compile": mode, **about,
                       "compiler": answer["compiler"]},
            ))  # fmt: skip
    precisions = sorted({str(turn.about["precision"]) for turn in turns})
    peaks = [peak_of(turns[0].child, precisions, run)] if turns else []
    take_turns(turns, until=run.until(plans.seconds))
    if turns:
        peaks.append(peak_of(turns[0].child, precisions, run))
    counted: dict[object, dict[str, object]] = {}  # by iterations; the same in all configurations
    for turn in turns:
        if not turn.seconds:
            run.row("plan", **turn.about, error=turn.last.get("error", "no time was left"))
            continue
        key = turn.last["num_iterations"]
        if key not in counted:
            counted[key] = turn.child.ask({**turn.request, "do": "count"}, until=run.until(60.0))
        row = plan_row(plans, turn, counted=counted[key], costs=costs, peaks=peaks)
        run.row("plan", **row)
    for child in children.values():
        child.close()


def peak_of(child: Child, precisions: Sequence[str], run: Run) -> dict[str, float]:
    """Measure the matmul peaks."""
    return {
        one: float(str(child.ask({"do": "peak", "precision": one}, until=run.until(30.0))
                       ["gflop_per_second"]))
        for one in precisions
    }  # fmt: skip


def plan_row(
    plans: Plans,
    turn: Turn,
    *,
    counted: Mapping[str, object],
    costs: Mapping[str, list[float]],
    peaks: Sequence[Mapping[str, float]],
) -> dict[str, object]:
    """Return the figures of one configuration."""
    precision = turn.about["precision"]
    if "error" in counted:
        return {**turn.about, **spread(turn), **counted}
    gflop = float(str(counted["gflop"]))
    peak, seconds = sum(one[precision] for one in peaks) / len(peaks), median(turn.seconds)
    row = {
        **turn.about,
        "num_samples": plans.num_samples,
        "horizon": plans.horizon,
        "chunk": plans.chunk,
        **spread(turn),
        **counted,
        "peak_gflop_per_second": peak,
        "floor_seconds": gflop / peak,
        "fraction_of_peak": gflop / peak / seconds,
    }
    mine = costs[f"{precision}/{turn.about['compile']}"]
    if "float32/off" in costs:
        row["costs_spread"] = (max(mine) - min(mine)) / max(map(abs, mine))
        row["costs_from_float32"] = largest_difference(mine, costs["float32/off"])
    if turn.about["compile"] != "off" and f"{precision}/off" in costs:
        difference = largest_difference(mine, costs[f"{precision}/off"])
        row["costs_from_eager"] = difference
        row["passed"] = difference <= COST_BOUND or precision != "float32"
    return row


def largest_difference(one: Sequence[float], other: Sequence[float]) -> float:
    """Return the largest difference as a fraction of the largest number; infinite for NaN."""
    differences = [abs(a - b) for a, b in zip(one, other, strict=True)]
    return inf if any(map(isnan, differences)) else max(differences) / max(map(abs, other))
