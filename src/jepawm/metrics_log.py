"""Write and read `metrics.jsonl`, and show training progress."""

import json
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import TextIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from jepawm.errors import UserError
from jepawm.files import write_whole


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

        Raises:
            UserError: if the disk is full or the file cannot be written.
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
    """Read all rows of a `metrics.jsonl`; a half-written last line is left out.

    Raises:
        UserError: if the file is missing or a line is not a row of metrics.
    """
    return [
        _parse(line, f"{path}:{number}") for number, line in enumerate(_whole_lines(path), start=1)
    ]


class TrainingProgress:
    """Show step, losses, steps per second and time left on stderr.

    On a terminal this is a progress bar; elsewhere (a file, a pipe) it is a plain line every
    `line_seconds` and one at the end.
    """

    def __init__(
        self,
        total: int,
        title: str,
        *,
        start: int = 0,
        line_seconds: float = 10.0,
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take the number of steps in all, a title, and the step that a resumed run starts at."""
        self._console = console if console is not None else Console(stderr=True)
        self._total, self._title, self._start = total, title, start
        self._line_seconds, self._clock = line_seconds, clock
        self._began = self._last_line = clock()
        self._progress: Progress | None = None
        self._task = TaskID(0)

    def __enter__(self) -> "TrainingProgress":
        """Start the bar if stderr is a terminal."""
        self._began = self._last_line = self._clock()
        if self._console.is_terminal:
            self._progress = Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=24),
                MofNCompleteColumn(),
                TextColumn("{task.fields[text]}", markup=False),
                TimeRemainingColumn(compact=True),
                console=self._console,
            )
            self._task = self._progress.add_task(
                self._title, total=self._total, completed=self._start, text=""
            )
            self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop the bar and leave its last state on the screen."""
        if self._progress is not None:
            self._progress.stop()

    def update(self, step: int, metrics: Mapping[str, int | float]) -> None:
        """Show that `step` steps are done, with the metrics whose key starts with `train/`.

        Only losses are worth a place on the line: keys that tell speed or schedule are left out.
        """
        now = self._clock()
        elapsed = now - self._began
        rate = (step - self._start) / elapsed if elapsed > 0 else 0.0
        text = _losses(metrics) + f"  {rate:.1f} steps/s"
        if self._progress is not None:
            self._progress.update(self._task, completed=step, text=text)
        elif step >= self._total or now - self._last_line >= self._line_seconds:
            self._last_line = now
            left = f"  {_duration((self._total - step) / rate)} left" if rate > 0 else ""
            line = f"{self._title} {step}/{self._total}  {text}{left}"
            self._console.print(line, markup=False, highlight=False, soft_wrap=True)


_NOT_LOSSES = {"learning_rate", "grad_norm", "gflops_per_second", "fraction_of_peak"}


def _losses(metrics: Mapping[str, int | float]) -> str:
    named = {
        key.removeprefix("train/"): value
        for key, value in metrics.items()
        if key.startswith("train/")
    }
    return "  ".join(
        f"{name} {value:.4g}" for name, value in named.items() if name not in _NOT_LOSSES
    )


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _whole_lines(path: Path) -> list[str]:
    """Return the lines that end in a newline; the rest is what a killed process left."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise UserError(
            f"cannot read {path}: {error.strerror}; `jepawm train RECIPE --out RUN` writes it"
        ) from error
    return text.split("\n")[:-1]


def _rewrite(path: Path, lines: list[str]) -> None:
    """Replace the file in one step, so that being killed here loses nothing."""
    write_whole(path, "".join(line + "\n" for line in lines))


def _parse(line: str, where: str) -> dict[str, int | float]:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise UserError(f"{where}: not JSON ({error.msg}); delete this line") from error
    if not isinstance(row, dict) or type(row.get("step")) is not int:
        raise UserError(f'{where}: no object with a whole number "step"; delete this line')
    numbers: dict[str, int | float] = {}
    for key, value in row.items():
        if isinstance(value, bool) or not isinstance(value, int | float | None):
            raise UserError(f"{where}: {key!r} is {value!r}, not a number; delete this line")
        numbers[key] = math.nan if value is None else value
    return numbers
