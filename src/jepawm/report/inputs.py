"""Read and check the files of a run directory."""

from dataclasses import dataclass, replace
from pathlib import Path

from jepawm.border import require_inside
from jepawm.diagnosis.results import FILE as DIAGNOSIS
from jepawm.diagnosis.results import Diagnosis, read_diagnosis
from jepawm.errors import UserError
from jepawm.evaluation.result_files import read_results, read_rollouts
from jepawm.evaluation.results import Results
from jepawm.evaluation.rollouts import Rollouts
from jepawm.metrics_log import read_metrics
from jepawm.strict_json import expect, read_json

JsonObject = dict[str, object]

MAX_TASKS = 200
"""Tasks of `rollouts.npz` that are shown."""
_AGAIN = "write the run again"


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
    diagnosis: Diagnosis | None = None
    """`diagnosis.json`."""


def read_run(run: Path) -> RunFiles:
    """Read a run directory."""
    names = ("experiment.json", "metrics.jsonl", "results.json", "rollouts.npz", DIAGNOSIS)
    experiment, metrics, results, rollouts, diagnosis = (run / name for name in names)
    if not any((run / name).is_file() for name in names):
        raise UserError(
            f"{run} is not a run directory: it has none of {', '.join(names)}; "
            "make one with `jepawm train RECIPE --out RUN`"
        )
    for name in names:
        require_inside(run, run / name, kind="run")
    return RunFiles(
        folder=run,
        experiment=_read_object(experiment) if experiment.is_file() else None,
        metrics=read_metrics(metrics) if metrics.is_file() else None,
        results=read_results(results) if results.is_file() else None,
        rollouts=_first_tasks(read_rollouts(rollouts)) if rollouts.is_file() else None,
        diagnosis=read_diagnosis(diagnosis) if diagnosis.is_file() else None,
    )


def _first_tasks(rollouts: Rollouts) -> Rollouts:
    """Return the tasks that a page shows."""
    return replace(
        rollouts,
        frames=rollouts.frames[:MAX_TASKS],
        states=rollouts.states[:MAX_TASKS],
        goal_frames=rollouts.goal_frames[:MAX_TASKS],
        goal_states=rollouts.goal_states[:MAX_TASKS],
        imagined_states=rollouts.imagined_states[:MAX_TASKS],
        success=rollouts.success[:MAX_TASKS],
        cost_history=rollouts.cost_history[:, :MAX_TASKS],
        imagined_frames=None
        if rollouts.imagined_frames is None
        else rollouts.imagined_frames[:MAX_TASKS],
        stops=rollouts.stops[:MAX_TASKS],
    )


def _read_object(path: Path) -> JsonObject:
    content = read_json(path, what="configuration", remedy=_AGAIN)
    return expect(content, dict, where=path, field="the file", remedy=_AGAIN)
