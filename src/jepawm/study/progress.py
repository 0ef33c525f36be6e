"""Progress of a sweep on stderr: what is done, what runs, how long it will take."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType

from rich.console import Console

from jepawm.progress import ProgressLine
from jepawm.study.jobs import Job, JobKind


@dataclass(frozen=True, kw_only=True)
class Underway:
    """A job that runs."""

    job: Job
    """What it is."""
    seconds: float
    """For how long it has run."""
    part: float
    """How much of it is done, 0 to 1; 0 where it is not known."""


def seconds_left(
    waiting: Sequence[Job],
    underway: Sequence[Underway],
    *,
    took: Mapping[JobKind, Sequence[float]],
    slots: int,
) -> float | None:
    """Return how long a sweep will still take; None while nothing says how long a kind of job takes.

    Args:
        waiting: jobs that have not begun.
        underway: jobs that run.
        took: seconds of the finished jobs of each kind.
        slots: jobs that run at the same time.
    """
    jobs = [*waiting, *(one.job for one in underway)]
    expected = {job.kind: _expected(job.kind, underway, took.get(job.kind, ())) for job in jobs}
    shares = [(job.kind, 1.0) for job in waiting]
    for one in underway:
        part = _part(one, expected[one.job.kind])
        shares.append((one.job.kind, max(0.0, 1.0 - part)))
    left = 0.0
    for kind, share in shares:
        seconds = expected[kind]
        if seconds is None:
            return None
        left += seconds * share
    return left / slots


def _expected(kind: JobKind, underway: Sequence[Underway], took: Sequence[float]) -> float | None:
    if took:
        return sum(took) / len(took)
    known = [one.seconds / one.part for one in underway if one.job.kind == kind and one.part > 0]
    return sum(known) / len(known) if known else None


def _part(one: Underway, expected: float | None) -> float:
    if one.part > 0 or not expected:
        return one.part
    return one.seconds / expected


class SweepProgress:
    """Show a bar on a terminal, and elsewhere a line for each finished job and every `line_seconds`."""

    def __init__(
        self,
        total: int,
        title: str,
        *,
        done: int = 0,
        line_seconds: float = 60.0,
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take the number of jobs, a title, and how many jobs were done before."""
        self._total, self._done = total, done
        self._line = ProgressLine(
            total, title, done=done, line_seconds=line_seconds, console=console, clock=clock
        )

    def __enter__(self) -> "SweepProgress":
        """Start the bar if stderr is a terminal."""
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

    def update(self, done: int, underway: Sequence[Underway], *, left: float | None) -> None:
        """Show that `done` jobs are done, what runs, and the seconds left (None: not known yet)."""
        running = "; ".join(_described(one) for one in underway)
        rest = "" if done >= self._total else f"  {_left(left)}"
        text = f"{running}{rest}"
        self._line.show(done, text, plain=text, now=done > self._done)
        self._done = max(done, self._done)


def _described(one: Underway) -> str:
    return f"{one.job.title} {one.part:.0%}" if one.part > 0 else one.job.title


def _left(seconds: float | None) -> str:
    if seconds is None:
        return "time left not known yet"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d} left"
