"""Progress of long work on stderr: a bar on a terminal, elsewhere plain lines."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

Item = TypeVar("Item")


class ProgressLine:
    """A line of progress on stderr: a bar on a terminal, elsewhere (a file, a pipe) plain lines."""

    def __init__(
        self,
        total: int,
        title: str,
        *,
        done: int = 0,
        line_seconds: float,
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
        columns: Sequence[ProgressColumn] = (),
    ) -> None:
        """Take how much there is to do and was done before, a title, and further columns of the bar."""
        self._console = console if console is not None else Console(stderr=True)
        self._total, self._title, self._done = total, title, done
        self._line_seconds, self._clock, self._columns = line_seconds, clock, columns
        self._last_line = clock()
        self._progress: Progress | None = None
        self._task = TaskID(0)

    def __enter__(self) -> "ProgressLine":
        """Start the bar if stderr is a terminal."""
        self._last_line = self._clock()
        if self._console.is_terminal:
            self._progress = Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=24),
                MofNCompleteColumn(),
                TextColumn("{task.fields[text]}", markup=False),
                *self._columns,
                console=self._console,
            )
            self._task = self._progress.add_task(
                self._title, total=self._total, completed=self._done, text=""
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

    def show(self, done: int, text: str, *, plain: str, now: bool) -> None:
        """Show `text` on the bar; or `plain`, where it is time for a line or one is asked for `now`."""
        if self._progress is not None:
            self._progress.update(self._task, completed=done, text=text)
        elif now or self._clock() - self._last_line >= self._line_seconds:
            self._last_line = self._clock()
            line = f"{self._title} {done}/{self._total}  {plain}".rstrip()
            self._console.print(line, markup=False, highlight=False, soft_wrap=True)


def lines(
    items: Iterable[Item], title: str, *, total: int, shown: bool = True, line_seconds: float = 10.0
) -> Iterator[Item]:
    """Hand on `total` items and show how many are done: as a bar, or a line every `line_seconds`."""
    console = Console(stderr=True, quiet=not shown)
    with ProgressLine(
        total,
        title,
        line_seconds=line_seconds,
        console=console,
        columns=(TimeRemainingColumn(compact=True),),
    ) as line:
        for done, item in enumerate(items, start=1):
            yield item
            line.show(done, "", plain="", now=False)


class TrainingProgress:
    """Show step, losses, steps per second and time left on stderr.

    Where it is no terminal: a line every `line_seconds` and one at the end.
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
        self._total, self._start, self._clock = total, start, clock
        self._began = clock()
        self._line = ProgressLine(
            total,
            title,
            done=start,
            line_seconds=line_seconds,
            console=console,
            clock=clock,
            columns=(TimeRemainingColumn(compact=True),),
        )

    def __enter__(self) -> "TrainingProgress":
        """Start the bar if stderr is a terminal."""
        self._began = self._clock()
        self._line.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop the bar and leave its last state on the screen."""
        self._line.__exit__(kind, error, traceback)

    def update(self, step: int, metrics: Mapping[str, int | float]) -> None:
        """Show that `step` steps are done, with the metrics whose key starts with `train/`.

        Only losses are worth a place on the line: keys of speed and schedule are left out.
        """
        elapsed = self._clock() - self._began
        rate = (step - self._start) / elapsed if elapsed > 0 else 0.0
        text = _losses(metrics) + f"  {rate:.1f} steps/s"
        left = f"  {_duration((self._total - step) / rate)} left" if rate > 0 else ""
        self._line.show(step, text, plain=text + left, now=step >= self._total)


_NOT_LOSSES = {"learning_rate", "grad_norm", "recoveries"}


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
