"""What every logged metric means; write and read `metrics.jsonl`."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TextIO

from jepawm.border import foreign, require_regular
from jepawm.errors import UserError, show
from jepawm.files import write_whole
from jepawm.strict_json import parse_json


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One key of `metrics.jsonl`, and how to read it."""

    key: str
    """Key in a row; `{k}` stands for any whole number."""
    title: str
    """Short name, shown above the curve."""
    meaning: str
    """What is measured."""
    good: str
    """What a good curve looks like."""
    suspicious: str = ""
    """What a bad one looks like, and what it says; empty if nothing."""
    unit: str = ""
    """Unit of the value; empty for a plain number."""
    logarithmic: bool = False
    """Whether the curve is drawn on a logarithmic axis."""


METRICS: tuple[Metric, ...] = (
    Metric(
        key="train/loss",
        title="Total loss",
        meaning="what the optimiser minimises: the weighted sum of the terms",
        good="falls fast, then slowly; it may level off while planning still improves",
        suspicious="rises for long, jumps",
        logarithmic=True,
    ),
    Metric(
        key="train/prediction",
        title="Prediction loss",
        meaning="error of the next latent given the true past (teacher forcing)",
        good="falls",
        suspicious="zero from the start: the latent collapsed",
        logarithmic=True,
    ),
    Metric(
        key="train/rollout",
        title="Rollout loss",
        meaning="error of later latents when the predictor is fed its own predictions, as in "
        "planning",
        good="ends near `train/prediction`",
        suspicious="far above it: errors pile up",
        logarithmic=True,
    ),
    Metric(
        key="train/sigreg",
        title="SIGReg",
        meaning="distance of the latents' distribution from a standard normal; only for learned "
        "encoders",
        good="early fall, then low",
        suspicious="stays high: the latents are not spread",
        logarithmic=True,
    ),
    Metric(
        key="train/vicreg",
        title="VICReg",
        meaning="how far the latents' standard deviations are below 1, and their squared "
        "covariances; only for learned encoders",
        good="early fall, then low",
        suspicious="stays near 1: the latents do not spread",
        logarithmic=True,
    ),
    Metric(
        key="train/temporal",
        title="Temporal smoothness loss",
        meaning="squared change of the latents from one step to the next",
        good="falls, then level",
        suspicious="near zero: the latents do not show motion",
        logarithmic=True,
    ),
    Metric(
        key="train/inverse_dynamics",
        title="Inverse dynamics loss",
        meaning="squared error of the action read back from two successive latents",
        good="well below 1",
        suspicious="near 1: the latents do not show motion",
        unit="normalised actions, squared",
        logarithmic=True,
    ),
    Metric(
        key="train/step_distance",
        title="Step distance loss",
        meaning="squared error of the learned number of action blocks between two latents of an "
        "episode",
        good="well below 1",
        suspicious="near the variance of the counts: the head learned nothing",
        unit="action blocks, squared",
        logarithmic=True,
    ),
    Metric(
        key="val/prediction_k{k}",
        title="Validation error by rollout step",
        meaning="error of the latent k model steps ahead on episodes never trained on, relative "
        "to the latents' variance; one key for each k",
        good="all fall together; planning needs the last one",
        suspicious="late steps rise: overfitting, or errors that pile up",
        logarithmic=True,
    ),
    Metric(
        key="val/prediction",
        title="Prediction loss on validation",
        meaning="`train/prediction` on episodes never trained on, encoded as planning sees them",
        good="at most twice `train/prediction`",
        suspicious="ten times it: learned by heart, or other statistics; a warning says so",
        logarithmic=True,
    ),
    Metric(
        key="val/rollout",
        title="Rollout loss on validation",
        meaning="`train/rollout` on episodes never trained on, from every start that it may have",
        good="at most twice `train/rollout`",
        suspicious="ten times it, as above",
        logarithmic=True,
    ),
    Metric(
        key="val/frame_share",
        title="Variance between frames",
        meaning="part of the tokens' variance that is between frames, not between places",
        good="1 for one token, near 1 for the grid of a learned encoder",
        suspicious="below 0.01: tokens tell places, not what moves; a warning says so",
        logarithmic=True,
    ),
    Metric(
        key="val/effective_rank",
        title="Effective rank",
        meaning="number of directions that the latents use: exponential of the entropy of their "
        "spectrum",
        good="a good part of the latent width",
        suspicious="near 1: collapse, everything looks alike to the model",
        unit="directions",
    ),
    Metric(
        key="val/latent_std",
        title="Latent spread",
        meaning="mean standard deviation of the latents' channels",
        good="about 1 under SIGReg",
        suspicious="near 0: collapse",
    ),
    Metric(
        key="train/learning_rate",
        title="Learning rate",
        meaning="step size of the optimiser, after warm-up and decay",
        good="as configured",
    ),
    Metric(
        key="train/recoveries",
        title="Recoveries",
        meaning="batches left out so far because their loss or gradient was not finite; only with "
        "`loop.recoveries`",
        good="0",
        suspicious="grows: the learning rate is too high, or the data have values beyond reason",
    ),
    Metric(
        key="train/grad_norm",
        title="Gradient norm",
        meaning="length of the gradient before clipping",
        good="level, with rare spikes",
        suspicious="steady growth: a NaN loss may follow",
        logarithmic=True,
    ),
)
"""Everything that a training logs besides `step` and `seconds`, in the order of the report."""
_GAP = 10.0
_HIGHER = "learned by heart, or other statistics in training; take more data or larger batches"
_LOWER = "batch norm lags behind, or dropout costs much; lower optim.learning_rate"


def find_metric(key: str) -> Metric | None:
    """Return the metric that a logged key belongs to; None if this version does not log it."""
    name, mark, number = key.rpartition("_k")
    if mark and number.isdigit():
        key = f"{name}_k{{k}}"
    return next((metric for metric in METRICS if metric.key == key), None)


def find_gaps(metrics: Mapping[str, int | float]) -> list[str]:
    """Say of each loss in a row that validation and training disagree about tenfold, with advice."""
    found = []
    for name in ("prediction", "rollout"):
        ours, theirs = metrics.get(f"train/{name}", 0.0), metrics.get(f"val/{name}", 0.0)
        ratio = max(ours, theirs) / min(ours, theirs) if min(ours, theirs) > 0 else 0.0
        if ratio >= _GAP:
            words = f"val/{name} {theirs:.3g} and train/{name} {ours:.3g} differ {ratio:.0f} times"
            found.append(f"{words}: {_HIGHER if theirs > ours else _LOWER}")
    return found


def metrics_table() -> str:
    """Return the table of all metrics in Markdown, as docs/report.md shows it."""
    rows = [
        f"| `{one.key}` | {one.meaning} | {one.unit} | {one.good} | {one.suspicious} |"
        for one in METRICS
    ]
    head = ["| key | meaning | unit | good | suspicious |", "|---|---|---|---|---|"]
    return "\n".join([*head, *(row.replace("|  |", "| |") for row in rows)]) + "\n"


class MetricsLog:
    """Append metrics to a file, one JSON object a line, flushed line by line.

    A line that a killed process left half-written is dropped when the file is opened again.
    """

    def __init__(self, path: Path) -> None:
        """Open `path` for appending; its folder must exist."""
        self.path = path
        if path.exists():
            _rewrite(path, _whole_lines(path))
        self._file: TextIO = path.open("a", encoding="utf-8")

    def append(self, step: int, metrics: Mapping[str, int | float], *, seconds: float) -> None:
        """Write one row: metrics after `step` optimiser steps and `seconds` of training.

        NaN and infinity are written as null, which `read_metrics` returns as NaN.
        """
        row: dict[str, int | float] = {"step": step, "seconds": round(seconds, 3), **metrics}
        finite = {key: value if math.isfinite(value) else None for key, value in row.items()}
        try:
            self._file.write(json.dumps(finite, allow_nan=False) + "\n")
            self._file.flush()
        except OSError as error:
            raise UserError(
                f"cannot write {self.path}: {error.strerror}; "
                "free some space or choose another --out, then continue with --resume"
            ) from error

    def truncate_after(self, step: int) -> None:
        """Drop rows later than `step`, so that a resumed run does not log them twice."""
        self._file.close()
        lines = _whole_lines(self.path)
        rows = [_parse(line, f"{self.path}:{i}") for i, line in enumerate(lines, start=1)]
        _rewrite(
            self.path, [line for line, row in zip(lines, rows, strict=True) if row["step"] <= step]
        )
        self._file = self.path.open("a", encoding="utf-8")

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> "MetricsLog":
        """Return this log."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the file."""
        self.close()


def read_metrics(path: Path) -> list[dict[str, int | float]]:
    """Read all rows of a `metrics.jsonl`; a half-written last line is left out."""
    return [
        _parse(line, f"{path}:{number}") for number, line in enumerate(_whole_lines(path), start=1)
    ]


def _whole_lines(path: Path) -> list[str]:
    """Return the lines that end in a newline; the rest is what a killed process left."""
    require_regular(path, "`jepawm train RECIPE --out RUN` writes it")
    with foreign(path, "log of metrics"):
        text = path.read_text(encoding="utf-8", errors="replace")
    return text.split("\n")[:-1]


def _rewrite(path: Path, lines: list[str]) -> None:
    """Replace the file in one step, so that being killed here loses nothing."""
    write_whole(path, "".join(line + "\n" for line in lines))


def _parse(line: str, where: str) -> dict[str, int | float]:
    row = parse_json(line, where=where, remedy="delete this line")
    if not isinstance(row, dict) or type(row.get("step")) is not int:
        raise UserError(f'{where}: no object with a whole number "step"; delete this line')
    numbers: dict[str, int | float] = {}
    for key, value in row.items():
        if isinstance(value, bool) or not isinstance(value, int | float | None):
            raise UserError(
                f"{where}: {show(key)} is {show(value)}, not a number; delete this line"
            )
        numbers[key] = math.nan if value is None else value
    return numbers
