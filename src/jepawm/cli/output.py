"""Show results: one JSON object, or plain text for people."""

import json
import math
from collections.abc import Mapping
from pathlib import Path

Result = Mapping[str, object]

ROW_NAMES = {
    "do_nothing": "do nothing",
    "random": "random actions",
    "oracle": "oracle (same planner, true dynamics)",
    "model": "model",
}


def print_json(result: Result) -> None:
    """Print one JSON object; paths become text, numbers that JSON lacks become null."""
    print(json.dumps(plain(result), indent=2, allow_nan=False))  # noqa: T201


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


def render_evaluation(result: Result) -> str:
    """Render success of every row with its 95 % interval."""
    values = _mapping(result["baselines"]) | {"model": result["success"]}
    intervals = {"model": result["ci95"]}
    if "baselines_ci95" in result:
        intervals = _mapping(result["baselines_ci95"]) | intervals
    lines = [
        f"{result['env']}, protocol {result['protocol']}, {result['episodes']} tasks, "
        f"seed {result['seed']}"
    ]
    for key, title in ROW_NAMES.items():
        if key in values:
            interval = f"  [{_percents(intervals[key])}]" if key in intervals else ""
            lines.append(f"  {title:<38}{_percent(values[key]):>6} %{interval}")
    figures = ("seconds_per_plan", "gflop_per_plan", "fraction_of_peak", "written")
    lines += [
        f"  {key.replace('_', ' ')}: {_text(result[key])}" for key in figures if key in result
    ]
    return "\n".join(lines)


def render_offline(result: Result) -> str:
    """Render predictions against copies, and distances of actions, with 95 % intervals."""
    lines = [f"{result['data']}, episodes {_text(result['episodes'])}, seed {result['seed']}"]
    for name, steps in _mapping(result["prediction"]).items():
        ratios = [_text(_mapping(step)["ratio"]) for step in _list(steps)]
        lines.append(f"  error / copying the last, {name}, k = 1...: {', '.join(ratios)}")
    lines.append(f"  {result['clips']} plans of {result['horizon']} blocks: L1 to recorded actions")
    for name, row in _mapping(result["actions"]).items():
        fields = _mapping(row)
        lines.append(f"    {name:<10}{_text(fields['l1']):>8}  [{_text(fields['l1_ci95'])}]")
    for name, row in _mapping(result.get("poses", {})).items():
        lines.append(f"  {name}: {_text(row)}")
    lines.append(f"  written: {result['written']}")
    return "\n".join(lines)


def _text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        return json.dumps(plain(value))
    if isinstance(value, list | tuple):
        return ", ".join(_text(item) for item in value)
    return str(value)


def _mapping(value: object) -> dict[str, object]:
    if not isinstance(value, Mapping):
        raise TypeError(f"{value!r} is no mapping")
    return dict(value)


def _list(value: object) -> list[object]:
    if not isinstance(value, list):
        raise TypeError(f"{value!r} is no list")
    return value


def _percent(value: object) -> str:
    return f"{100 * float(str(value)):.1f}"


def _percents(values: object) -> str:
    if not isinstance(values, list | tuple):
        raise TypeError(f"{values!r} is no interval")
    return ", ".join(_percent(value) for value in values)
