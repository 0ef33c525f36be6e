"""Read and check the files of a run directory."""

import json
from dataclasses import dataclass
from pathlib import Path

from jepawm.errors import UserError
from jepawm.evaluation.result_files import read_results, read_rollouts
from jepawm.evaluation.results import Results
from jepawm.evaluation.rollouts import Rollouts
from jepawm.metrics_log import read_metrics

JsonObject = dict[str, object]


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
    """Read a run directory."""
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


def _read_object(path: Path) -> JsonObject:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise UserError(f"{path}: not readable JSON ({error}); write the run again") from error
    if not isinstance(value, dict):
        raise UserError(f"{path}: the file is {value!r}, not a JSON object; write the run again")
    return value
