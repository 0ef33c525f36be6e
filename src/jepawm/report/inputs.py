"""Read and check the files of a run directory."""

import json
import math
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, UInt8

from jepawm.errors import UserError
from jepawm.metrics_log import read_metrics

JsonObject = dict[str, object]

BASELINES = ("do_nothing", "random", "oracle")


@dataclass(frozen=True, kw_only=True)
class SuccessRow:
    """One row of the success table."""

    success: float
    """Success rate, 0 to 1."""
    interval: tuple[float, float] | None
    """95 % Wilson interval; None if the file does not have it."""


@dataclass(frozen=True, kw_only=True)
class Results:
    """What the report needs of `results.json`."""

    environment: str
    """Name of the environment."""
    protocol: str
    """Name of the evaluation protocol."""
    num_episodes: int
    """Number of tasks."""
    model: SuccessRow
    """The world model's row."""
    baselines: dict[str, SuccessRow]
    """Rows of `do_nothing`, `random` and `oracle`."""
    seconds_per_plan: float
    """Mean time of one plan, in seconds."""
    state_to_pixel: float | None
    """Pixels of a frame per unit of state; None if states are not places in the picture."""
    raw: JsonObject
    """The whole file."""


@dataclass(frozen=True, kw_only=True)
class Rollouts:
    """Executed plans of the first `R` tasks of the model row."""

    frames: UInt8[np.ndarray, "R frames 3 height width"]
    """Pictures `[R, T+1, 3, h, w]`."""
    states: Float[np.ndarray, "R frames S"]
    """Exact states `[R, T+1, S]`."""
    goal_frames: UInt8[np.ndarray, "R 3 height width"]
    """Pictures of the goals `[R, 3, h, w]`."""
    goal_states: Float[np.ndarray, "R S"]
    """States of the goals `[R, S]`."""
    imagined_states: Float[np.ndarray, "R steps P"]
    """States that a probe reads from the latents of the first plan `[R, H+1, P]`; NaN if none."""
    success: Bool[np.ndarray, " R"]
    """Whether each task ended at its goal `[R]`."""
    cost_history: Float[np.ndarray, "I R"]
    """Lowest candidate cost per planner iteration of the first plan `[I, R]`."""
    frameskip: int
    """Environment steps per model step."""


@dataclass(frozen=True, kw_only=True)
class RunFiles:
    """The files of a run directory; None where one is missing."""

    folder: Path
    """The run directory."""
    experiment: JsonObject | None
    """`experiment.json`."""
    metrics: list[dict[str, int | float]] | None
    """Rows of `metrics.jsonl`."""
    results: Results | None
    """`results.json`."""
    rollouts: Rollouts | None
    """`rollouts.npz`."""


def read_run(run: Path) -> RunFiles:
    """Read a run directory.

    Raises:
        UserError: if it holds none of the files, or one that is malformed.
    """
    names = ("experiment.json", "metrics.jsonl", "results.json", "rollouts.npz")
    experiment, metrics, results, rollouts = (run / name for name in names)
    if not any((run / name).is_file() for name in names):
        raise UserError(
            f"{run} is not a run directory: it has none of {', '.join(names)}; "
            "make one with `jepawm train RECIPE --out RUN`"
        )
    return RunFiles(
        folder=run,
        experiment=_read_object(experiment) if experiment.is_file() else None,
        metrics=read_metrics(metrics) if metrics.is_file() else None,
        results=read_results(results) if results.is_file() else None,
        rollouts=read_rollouts(rollouts) if rollouts.is_file() else None,
    )


def read_results(path: Path) -> Results:
    """Read and check `results.json`."""
    raw = _read_object(path)
    baselines = _object(raw.get("baselines"), path, "baselines")
    intervals = _object(raw.get("baselines_ci95", {}), path, "baselines_ci95")
    scale = raw.get("state_to_pixel")
    return Results(
        environment=_text(raw, path, "env"),
        protocol=_text(raw, path, "protocol"),
        num_episodes=int(_number(raw.get("episodes"), path, "episodes")),
        model=_row(raw.get("success"), raw.get("ci95"), path=path, key="success"),
        baselines={
            name: _row(baselines.get(name), intervals.get(name), path=path, key=f"baselines.{name}")
            for name in BASELINES
        },
        seconds_per_plan=_number(raw.get("seconds_per_plan"), path, "seconds_per_plan"),
        state_to_pixel=None if scale is None else _number(scale, path, "state_to_pixel"),
        raw=raw,
    )


def read_rollouts(path: Path) -> Rollouts:
    """Read and check `rollouts.npz`; nothing in it is ever unpickled."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in arrays.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"{path}: not a readable npz file ({error}); {_AGAIN}") from error
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
    )


_AGAIN = "write it again with `jepawm eval RUN --out RUN`"


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
    for name, (num_axes, kinds) in wanted.items():
        if name not in found:
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
    for name, shape in expected.items():
        if found[name].shape != shape or (0 in shape and name == "frames"):
            raise UserError(
                f"{path}: {name!r} has shape {found[name].shape}, expected {shape}; {_AGAIN}"
            )
    if found["frames"].dtype != np.uint8 or found["goal_frames"].dtype != np.uint8:
        raise UserError(f"{path}: frames are {found['frames'].dtype}, not uint8; {_AGAIN}")
    if int(found["frameskip"]) < 1:
        raise UserError(f"{path}: 'frameskip' is {int(found['frameskip'])}, below 1; {_AGAIN}")


def _read_object(path: Path) -> JsonObject:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise UserError(f"{path}: not readable JSON ({error}); write the run again") from error
    return _object(value, path, "the file")


def _object(value: object, path: Path, key: str) -> JsonObject:
    if not isinstance(value, dict):
        raise UserError(f"{path}: {key} is {value!r}, not a JSON object; {_AGAIN}")
    return value


def _text(raw: JsonObject, path: Path, key: str) -> str:
    value = raw.get(key)
    if not isinstance(value, str):
        raise UserError(f"{path}: {key!r} is {value!r}, not a text; {_AGAIN}")
    return value


def _number(value: object, path: Path, key: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise UserError(f"{path}: {key!r} is {value!r}, not a number; {_AGAIN}")
    return float(value)


def _rate(value: object, path: Path, key: str) -> float:
    number = _number(value, path, key)
    if not 0 <= number <= 1:
        raise UserError(f"{path}: {key!r} is {number}, not between 0 and 1; {_AGAIN}")
    return number


def _row(success: object, interval: object, *, path: Path, key: str) -> SuccessRow:
    bounds = None
    if interval is not None:
        if not isinstance(interval, list) or len(interval) != 2:
            raise UserError(f"{path}: interval of {key!r} is {interval!r}, not [low, high]")
        bounds = (_rate(interval[0], path, key), _rate(interval[1], path, key))
    return SuccessRow(success=_rate(success, path, key), interval=bounds)
