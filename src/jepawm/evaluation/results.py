"""The files of an evaluation: `results.json` and `rollouts.npz`, written whole or not at all."""

import io
import json
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, is_dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from jepawm.errors import UserError
from jepawm.evaluation.episodes import Outcome
from jepawm.evaluation.metrics import paired_difference, wilson_interval
from jepawm.files import write_whole
from jepawm.protocol import Protocol

BASELINES = ("do_nothing", "random", "oracle")
ROWS = (*BASELINES, "model")
MEASURED = ("seconds_per_plan", "oracle_seconds_per_plan", "fraction_of_peak")
"""Keys of `results.json` that tell times; all others are the same whenever it is run again."""

JsonValue = str | int | float | bool | list["JsonValue"] | dict[str, "JsonValue"] | None


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """All that an evaluation found."""

    results: dict[str, JsonValue]
    """The content of `results.json`; docs/evaluate.md explains every key."""
    rollouts: dict[str, np.ndarray]
    """The arrays of `rollouts.npz`."""


def summarize(outcomes: Mapping[str, Outcome], protocol: Protocol) -> dict[str, JsonValue]:
    """Return success rates, intervals and planning times of the four rows."""
    success = {name: outcome.success(protocol) for name, outcome in outcomes.items()}
    model = success["model"]
    differences: dict[str, JsonValue] = {}
    for name in BASELINES:
        found = paired_difference(model, success[name])
        differences[name] = {"difference": found.difference, "ci95": list(found.ci95)}
    return {
        "success": float(model.mean()),
        "ci95": _interval(model),
        "baselines": {name: float(success[name].mean()) for name in BASELINES},
        "baselines_ci95": {name: _interval(success[name]) for name in BASELINES},
        "model_minus_baseline": differences,
        "success_at_any_time": {
            name: float(outcome.at_any_time.mean()) for name, outcome in outcomes.items()
        },
        "seconds_per_plan": outcomes["model"].seconds_per_plan(protocol),
        "oracle_seconds_per_plan": outcomes["oracle"].seconds_per_plan(protocol),
        "dropped_candidates": outcomes["model"].num_dropped,
    }


def describe(part: object) -> dict[str, JsonValue]:
    """Return the type and the fields of a planner or an objective.

    Raises:
        UserError: if it is no dataclass, so that its settings are unknown.
    """
    if not is_dataclass(part) or isinstance(part, type):
        raise UserError(
            f"{type(part).__name__} is no dataclass, so results.json cannot tell its settings; "
            "make it a frozen dataclass"
        )
    return {"type": type(part).__name__, **asdict(part)}


def versions() -> dict[str, JsonValue]:
    """Return the versions that the numbers depend on."""
    found: dict[str, JsonValue] = {"python": platform.python_version()}
    for name in ("jepawm", "torch", "numpy"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"  # run from a source tree
    return found


def check_output(folder: Path, *, overwrite: bool = False) -> None:
    """Check, before any work, that results can be written to `folder`.

    Raises:
        UserError: if it holds results already or is no folder.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is no folder; give another one for the results")
    if (folder / "results.json").exists() and not overwrite:
        raise UserError(
            f"{folder} already holds results.json; give another folder, or ask to overwrite it"
        )


def write_evaluation(evaluation: Evaluation, folder: Path, *, overwrite: bool = False) -> Path:
    """Write `rollouts.npz` and then `results.json`; returns the path of the latter.

    Each file appears complete or not at all.

    Raises:
        UserError: if the folder holds results already, or cannot be written.
    """
    check_output(folder, overwrite=overwrite)
    arrays = io.BytesIO()
    np.savez_compressed(arrays, allow_pickle=False, **evaluation.rollouts)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / "rollouts.npz", arrays.getvalue())
    except OSError as error:
        raise UserError(f"cannot write results to {folder} ({error}); give another") from error
    return write_results(folder / "results.json", evaluation.results)


def write_results(path: Path, results: Mapping[str, JsonValue]) -> Path:
    """Write results as JSON, complete or not at all; returns the path.

    Raises:
        UserError: if the folder cannot be written.
    """
    text = json.dumps(results, indent=2, allow_nan=False) + "\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, text)
    except OSError as error:
        raise UserError(f"cannot write results to {path.parent} ({error}); give another") from error
    return path


def _interval(success: np.ndarray) -> list[JsonValue]:
    return list(wilson_interval(int(success.sum()), len(success)))
