"""Show results: one JSON object, or plain text for people."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from jepawm.errors import plain_text

if TYPE_CHECKING:  # at run time results are there only after torch
    from jepawm.diagnosis.drift import Drift
    from jepawm.diagnosis.results import Diagnosis
    from jepawm.evaluation.offline import OfflineResults
    from jepawm.evaluation.results import Results
    from jepawm.evaluation.returns import ReturnResults

Result = Mapping[str, object]


def print_json(result: Result) -> None:
    """Print one JSON object; paths become text, numbers that JSON lacks become null."""
    print(json.dumps(plain(result), indent=2, allow_nan=False))  # noqa: T201


def to_json(value: object) -> dict[str, object]:
    """Return a result as an object of JSON: its fields in order, those of nested results too.

    A field that is None because it may be left out (its default is None) is left out.
    """
    return {
        one.name: _nested(getattr(value, one.name))
        for one in fields(value)  # pyright: ignore[reportArgumentType]
        if one.default is not None or getattr(value, one.name) is not None
    }


def _nested(value: object) -> object:
    if isinstance(value, Mapping):
        return {key: _nested(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_nested(item) for item in value]
    return to_json(value) if is_dataclass(value) else value


def plain(value: object) -> object:
    """Return a value as JSON can hold it."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{value!r} does not go into JSON")


def render_fields(result: Result) -> str:
    """Render one line per entry."""
    width = max((len(key) for key in result), default=0)
    return "\n".join(f"{key:<{width}}  {_text(value)}" for key, value in result.items())


def render_evaluation(results: "Results", written: Path) -> str:
    """Render success of every row with its 95 % interval."""
    from jepawm.evaluation.results import NO_ORACLE, row_text

    lines = [
        f"{results.env}, protocol {results.protocol}, {results.num_tasks} tasks, "
        f"seed {results.seed}"
    ]
    for name, row in results.rows.items():
        interval = "" if row.interval is None else f"  [{_percents(row.interval)}]"
        lines.append(f"  {row_text(name).line:<38}{_percent(row.success):>6} %{interval}")
    if "oracle" not in results.rows:
        lines.append(f"  {NO_ORACLE}")
    lines += _motion_lines(results)
    lines.append(f"  seconds per plan: {_text(results.seconds_per_plan)}")
    for what, count in (
        ("dropped candidates", results.dropped_candidates),
        ("plans searched, their proposals poor", results.searched_plans),
    ):
        if count:
            lines.append(f"  {what}: {count:,}")
    if results.efficiency is not None:
        lines.append(f"  gflop per plan: {_text(results.efficiency.gflop_per_plan)}")
        lines.append(f"  fraction of peak: {_text(results.efficiency.fraction_of_peak)}")
    return "\n".join([*lines, f"  written: {written}"])


def _motion_lines(results: "Results") -> list[str]:
    """Render how the episodes of the model went, as far as it is known."""
    motion = results.model.motion
    known = {
        "steps to success": motion and motion.steps_to_success,
        "way over the oracle's": motion and motion.path_over_oracle,
        "change of actions": motion and motion.action_change,
    }
    return [f"  {what}: {_text(value)}" for what, value in known.items() if value is not None]


def render_offline(results: "OfflineResults", written: Path) -> str:
    """Render predictions against copies, and distances of actions, with 95 % intervals."""
    lines = [f"{results.data}, episodes {_text(results.episodes)}, seed {results.seed}"]
    for name, steps in results.prediction.items():
        ratios = ", ".join(_text(step.ratio) for step in steps)
        lines.append(f"  error / copying the last, {name}, k = 1...: {ratios}")
    lines.append(f"  {results.clips} plans of {results.horizon} blocks: L1 to recorded actions")
    for name, row in results.actions.items():
        lines.append(f"    {name:<10}{_text(row.l1):>8}  [{_text(row.l1_ci95)}]")
    for group, rows in results.groups.items():
        distances = ", ".join(f"{name} {_text(row.l1)}" for name, row in rows.items())
        lines.append(f"    columns {group}: {distances}")
    for name, errors in (results.poses or {}).items():
        lines.append(f"  {name}: {_text(asdict(errors))}")
    return "\n".join([*lines, f"  written: {written}"])


def render_returns(results: "ReturnResults", written: Path) -> str:
    """Render the mean true reward of every row, with 95 % intervals."""
    rules = results.protocol
    lines = [
        f"{results.env}, reward {results.reward}, protocol {rules.name}, {results.num_tasks} episodes of "
        f"{rules.max_env_steps} steps, split {results.split}, seed {results.seed}"
    ]
    for name, row in results.rows.items():
        mean = f"{_text(row.reward.difference):>8}  [{_text(row.reward.ci95)}]"
        apart = row.model_minus
        more = "" if apart is None else f"   model minus it {_text(asdict(apart))}"
        lines.append(f"  {name:<12}{mean}{more}")
    lines.append(f"  model above random, as a part of the oracle: {results.part_of_oracle:.1%}")
    lines.append(f"  {results.seconds_per_plan:.3f} s per plan")
    return "\n".join([*lines, f"  written: {written}"])


def render_diagnosis(found: "Diagnosis", written: Path) -> str:
    """Render the figures to see first; the report shows all."""
    lines = [f"{found.source}, {found.env}, split {found.split}, seed {found.seed}"]
    if found.latents is not None:
        latents = found.latents
        lines.append(
            f"  latents: effective rank {_text(latents.effective_rank)} of {latents.width}, "
            f"straightness {_text(latents.straightness.difference)}"
        )
    if found.drift is not None:
        lines += _drift_lines(found.drift)
    if found.actions:
        ratios = ", ".join(_text(step.other / step.own) for step in found.actions if step.own)
        lines.append(f"  error under other actions / under the own, k = 1...: {ratios}")
    if found.candidates is not None:
        for name, group in found.candidates.groups.items():
            if group.correlation is not None:
                lines.append(
                    f"  rank correlation of cost and true distance, {name} candidates: "
                    f"{_text(group.correlation.difference)} [{_text(group.correlation.ci95)}]"
                )
    if found.failures is not None:
        failures = found.failures
        lines.append(
            f"  success {_percent(failures.success)} % [{_percents(failures.ci95)}] of "
            f"{failures.tasks} tasks, protocol {failures.protocol}; failures: "
            + (", ".join(f"{count} {where}" for where, count in failures.counts.items()) or "none")
        )
    if found.checkpoints is not None:
        for one in found.checkpoints.correlations[:2]:
            lines.append(f"  error at k = {one.k} and success: {_text(one.correlation)}")
    lines += [f"  left out: {part}: {reason}" for part, reason in found.left_out.items()]
    return "\n".join([*lines, f"  written: {written}", f"  see it: jepawm report {written.parent}"])


def _drift_lines(drift: "Drift") -> list[str]:
    lines = []
    for code, curves in drift.curves.items():
        for curve in curves:
            last = curve.steps[-1]
            how = "open loop" if curve.every is None else f"a real frame every {curve.every}"
            lines.append(
                f"  error of {code}, {how}: {_text(curve.steps[0].model)} at 1 block, "
                f"{_text(last.model)} at {last.k}, mean {_text(curve.mean)}"
            )
    ahead = drift.steps_ahead_of_copying
    return [*lines, f"  better than copying, in the open loop, for {ahead} blocks"]


def _text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        return json.dumps(plain(value))
    if isinstance(value, list | tuple):
        return ", ".join(_text(item) for item in value)
    return plain_text(str(value))


def _percent(rate: float) -> str:
    return f"{100 * rate:.1f}"


def _percents(rates: tuple[float, float]) -> str:
    return ", ".join(_percent(rate) for rate in rates)
