"""The files of an evaluation, `results.json` and `rollouts.npz`: written whole, read and checked."""

import io
import json
import math
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from types import MappingProxyType
from typing import cast

import numpy as np
from cattrs.errors import BaseValidationError, ForbiddenExtraKeysError

from jepawm.border import load_npz
from jepawm.errors import UserError, plain_text, show
from jepawm.evaluation.metrics import Difference
from jepawm.evaluation.motion import RowMotion
from jepawm.evaluation.results import MODEL, Efficiency, Part, Results, Row
from jepawm.evaluation.rollouts import Rollouts
from jepawm.files import write_together
from jepawm.protocol import Protocol
from jepawm.records import JsonValue
from jepawm.strict_json import problems, read_json, strict_converter


def check_output(folder: Path, *, overwrite: bool = False) -> None:
    """Check, before any work, that results can be written to `folder`."""
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is not a folder; give another one for the results")
    if (folder / "results.json").exists() and not overwrite:
        raise UserError(
            f"{folder} already holds results.json; give another folder, or ask to overwrite it"
        )


def write_results(
    results: Results,
    folder: Path,
    *,
    rollouts: Rollouts | None = None,
    beside: Mapping[Path, bytes] = MappingProxyType({}),
    overwrite: bool = False,
) -> Path:
    """Write `results.json` and, where there are some, `rollouts.npz`; returns the path of the first.

    Both appear whole, and `results.json` never stands beside files of other results. `beside` are
    files that belong to them, with their contents.
    """
    check_output(folder, overwrite=overwrite)
    arrays = io.BytesIO()
    if rollouts is not None:
        np.savez_compressed(arrays, allow_pickle=False, **rollouts.arrays())
    played = {folder / "rollouts.npz": None if rollouts is None else arrays.getvalue()}
    return write_json(folder / "results.json", results.to_json(), beside={**beside, **played})


def write_json(
    path: Path,
    content: Mapping[str, JsonValue],
    *,
    beside: Mapping[Path, bytes | None] = MappingProxyType({}),
) -> Path:
    """Write results as JSON, with the files that belong to them, or nothing; returns the path."""
    text = json.dumps(content, indent=2, allow_nan=False) + "\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_together({**beside, path: text})
    except OSError as error:
        raise UserError(f"cannot write results to {path.parent} ({error}); give another") from error
    return path


def read_results(path: Path) -> Results:
    """Read and check `results.json`."""
    raw = cast(JsonValue, read_json(path, what="file of results", remedy=_AGAIN))
    file = _File(path, _object(raw, path, "the file"))
    return Results(
        env=file.text("env"),
        protocol=file.text("protocol"),
        num_tasks=file.count("episodes"),
        seed=file.count("seed"),
        rows=_rows(file),
        seconds_per_plan=file.number("seconds_per_plan"),
        oracle_seconds_per_plan=file.optional_number("oracle_seconds_per_plan"),
        split=file.optional_text("split"),
        tasks_per_batch=file.optional_count("tasks_per_batch"),
        tasks_sha256=file.optional_text("tasks_sha256"),
        dropped_candidates=file.optional_count("dropped_candidates") or 0,
        searched_plans=file.optional_count("searched_plans") or 0,
        planner=_part(file, "planner"),
        oracle_planner=_part(file, "oracle_planner"),
        objective=_part(file, "objective"),
        agent=file.optional_object("agent"),
        engine=file.optional_object("engine"),
        protocol_settings=_protocol(file),
        state_to_pixel=file.optional_number("state_to_pixel"),
        versions=file.optional_object("versions") or {},
        efficiency=_efficiency(file),
    )


def read_rollouts(path: Path) -> Rollouts:
    """Read and check `rollouts.npz`; nothing in it is ever unpickled."""
    found = load_npz(path)
    _check_rollouts(found, path)
    return Rollouts(
        frames=found["frames"],
        states=found["states"].astype(np.float64),
        goal_frames=found["goal_frames"],
        goal_states=found["goal_states"].astype(np.float64),
        imagined_states=found["imagined_states"].astype(np.float64),
        success=found["success"].astype(np.bool_),
        cost_history=found["cost_history"].astype(np.float64),
        frameskip=int(found["frameskip"]),
        imagined_frames=found.get("imagined_frames"),
        stops=tuple(map(str, found["stops"])) if "stops" in found else (),
    )


_AGAIN = "write it again with `jepawm eval RUN --out RUN`"


class _File:
    """Values of a JSON object by key, each checked."""

    def __init__(self, path: Path, content: Mapping[str, JsonValue]) -> None:
        self.path = path
        self._content = content

    def text(self, key: str) -> str:
        value = self._content.get(key)
        if not isinstance(value, str):
            raise UserError(f"{self.path}: {key!r} is {show(value)}, not a text; {_AGAIN}")
        return value

    def number(self, key: str) -> float:
        return _number(self._content.get(key), self.path, key)

    def count(self, key: str) -> int:
        value = self._content.get(key)
        if type(value) is not int or not 0 <= value < 2**63:
            raise UserError(f"{self.path}: {key!r} is {show(value)}, not a count; {_AGAIN}")
        return value

    def optional_count(self, key: str) -> int | None:
        return None if self._content.get(key) is None else self.count(key)

    def optional_text(self, key: str) -> str | None:
        return None if self._content.get(key) is None else self.text(key)

    def optional_number(self, key: str) -> float | None:
        return None if self._content.get(key) is None else self.number(key)

    def optional_object(self, key: str) -> dict[str, JsonValue] | None:
        value = self._content.get(key)
        return None if value is None else _object(value, self.path, key)

    def object(self, key: str) -> dict[str, JsonValue]:
        return _object(self._content.get(key), self.path, key)

    def interval(self, key: str) -> tuple[float, float] | None:
        return _interval(self._content.get(key), self.path, key)


def _rows(file: _File) -> dict[str, Row]:
    path, baselines = file.path, file.object("baselines")
    for name in ("do_nothing", "random"):
        if name not in baselines:
            raise UserError(f"{path}: no 'baselines.{name}'; {_AGAIN}")
    intervals = file.optional_object("baselines_ci95") or {}
    apart = file.optional_object("model_minus_baseline") or {}
    any_time = file.optional_object("success_at_any_time") or {}
    motions = file.optional_object("motion") or {}

    def row(name: str, *, success: JsonValue, interval: tuple[float, float] | None) -> Row:
        key, passed, less = f"baselines.{name}", any_time.get(name), apart.get(name)
        return Row(
            success=_rate(success, path, "success" if name == MODEL else key),
            interval=interval,
            at_any_time=None if passed is None else _rate(passed, path, "success_at_any_time"),
            model_minus=None if less is None else _difference(less, path),
            motion=None if name not in motions else _motion(motions[name], path),
        )

    rows = {
        name: row(
            name,
            success=rate,
            interval=_interval(intervals.get(name), path, f"baselines_ci95.{name}"),
        )
        for name, rate in baselines.items()
    }
    model = row(MODEL, success=file.number("success"), interval=file.interval("ci95"))
    return {**rows, MODEL: model}


def _part(file: _File, key: str) -> Part | None:
    value = file.optional_object(key)
    if value is None:
        return None
    kind = value.get("type")
    if not isinstance(kind, str):
        raise UserError(f"{file.path}: {key!r} has no type; {_AGAIN}")
    return Part(type=kind, settings={name: one for name, one in value.items() if name != "type"})


def _protocol(file: _File) -> Protocol | None:
    value = file.optional_object("protocol_settings")
    if value is None:
        return None
    known: dict[str, JsonValue] = {"name": file.text("protocol")}
    known |= {one.name: value[one.name] for one in fields(Protocol) if one.name in value}
    try:
        return strict_converter().structure(known, Protocol)
    except (BaseValidationError, ForbiddenExtraKeysError) as error:
        wrong = problems(error)
        raise UserError(f"{file.path}: 'protocol_settings': {wrong}; {_AGAIN}") from error


def _efficiency(file: _File) -> Efficiency | None:
    gflop = file.optional_number("gflop_per_plan")
    fraction = file.optional_number("fraction_of_peak")
    if gflop is None or fraction is None:
        return None
    return Efficiency(gflop_per_plan=gflop, fraction_of_peak=fraction)


def _difference(value: JsonValue, path: Path) -> Difference:
    found = _object(value, path, "model_minus_baseline")
    ends = found.get("ci95")
    if not isinstance(ends, list) or len(ends) != 2:
        raise UserError(f"{path}: an interval of 'model_minus_baseline' is not [low, high]")
    low, high = (_number(end, path, "model_minus_baseline") for end in ends)
    number = _number(found.get("difference"), path, "model_minus_baseline")
    return Difference(difference=number, ci95=(low, high))


def _motion(value: JsonValue, path: Path) -> RowMotion:
    found = _object(value, path, "motion")
    names = [one.name for one in fields(RowMotion)]
    given = {name: found.get(name) for name in names}
    return RowMotion(
        **{
            name: None if number is None else _number(number, path, f"motion.{name}")
            for name, number in given.items()
        }
    )


def _check_rollouts(found: dict[str, np.ndarray], path: Path) -> None:
    wanted = {
        "frames": (5, "u"),
        "states": (3, "f"),
        "goal_frames": (4, "u"),
        "goal_states": (2, "f"),
        "imagined_states": (3, "f"),
        "success": (1, "b"),
        "cost_history": (2, "f"),
        "frameskip": (0, "iu"),
    }
    later = {"imagined_frames": (5, "u"), "stops": (1, "U")}  # files of 0.2.0 have none
    for name, (num_axes, kinds) in {**wanted, **later}.items():
        if name not in found:
            if name in later:
                continue
            raise UserError(f"{path}: no array {name!r}; {_AGAIN}")
        array = found[name]
        if array.ndim != num_axes or array.dtype.kind not in kinds:
            raise UserError(f"{path}: {name!r} is {array.dtype} {array.shape}; {_AGAIN}")
    tasks, num_frames, channels, height, width = found["frames"].shape
    dim = found["states"].shape[-1]
    expected = {
        "frames": (tasks, num_frames, 3, height, width),
        "states": (tasks, num_frames, dim),
        "goal_frames": (tasks, channels, height, width),
        "goal_states": (tasks, dim),
        "success": (tasks,),
        "imagined_states": (tasks, *found["imagined_states"].shape[1:]),
        "cost_history": (found["cost_history"].shape[0], tasks),
    }
    if "stops" in found:
        expected["stops"] = (tasks,)
    if "imagined_frames" in found:
        shape = found["imagined_frames"].shape
        expected["imagined_frames"] = (tasks, max(1, shape[1]), 3, *(max(1, s) for s in shape[3:]))
    for name, shape in expected.items():
        if found[name].shape != shape or (0 in shape and name == "frames"):
            raise UserError(
                f"{path}: {name!r} has shape {found[name].shape}, expected {shape}; {_AGAIN}"
            )
    for name in ("frames", "goal_frames", "imagined_frames"):
        if name in found and found[name].dtype != np.uint8:
            raise UserError(f"{path}: {name} are {found[name].dtype}, not uint8; {_AGAIN}")
    if int(found["frameskip"]) < 1:
        raise UserError(f"{path}: 'frameskip' is {int(found['frameskip'])}, below 1; {_AGAIN}")


def _object(value: object, path: Path, key: str) -> dict[str, JsonValue]:
    if not isinstance(value, dict):
        raise UserError(f"{path}: {key} is {show(value)}, not a JSON object; {_AGAIN}")
    return value


def _number(value: JsonValue, path: Path, key: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise UserError(f"{path}: {plain_text(key)} is {show(value)}, not a number; {_AGAIN}")
    return float(value)


def _rate(value: JsonValue, path: Path, key: str) -> float:
    number = _number(value, path, key)
    if not 0 <= number <= 1:
        raise UserError(f"{path}: {plain_text(key)} is {number}, not between 0 and 1; {_AGAIN}")
    return number


def _interval(value: JsonValue, path: Path, key: str) -> tuple[float, float] | None:
    if value is None:
        return None
    if not isinstance(value, list) or len(value) != 2:
        raise UserError(
            f"{path}: interval of {plain_text(key)} is {show(value)}, not [low, high]; {_AGAIN}"
        )
    return _rate(value[0], path, key), _rate(value[1], path, key)
