"""Run the jobs of a sweep in workers, again where they were killed, and append rows as they come."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from jepawm.errors import UserError, plain_text
from jepawm.study.executors import Running, Start
from jepawm.study.folder import StudyFolder
from jepawm.study.jobs import Job, JobKind
from jepawm.study.progress import SweepProgress, Underway, seconds_left

MOST_RESTARTS = 5
"""How often a job whose worker was killed is started again in one sweep."""
_POLL_SECONDS = 0.1
_LAST_BYTES = 8192


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A job that could not be done."""

    job: Job
    """Which."""
    reason: str
    """Why, in a line."""


@dataclass
class _State:
    waiting: list[Job]
    running: dict[str, tuple[Job, Running, float]] = field(default_factory=dict)
    restarts: dict[str, int] = field(default_factory=dict)
    took: dict[JobKind, list[float]] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    finished: set[str] = field(default_factory=set)


def run_jobs(
    jobs: tuple[Job, ...],
    *,
    folder: StudyFolder,
    start: Start,
    write: Callable[[Job], Path],
    slots: int,
    on_done: Callable[[Job], None],
    title: str,
) -> list[Failure]:
    """Do all jobs whose results are not there yet; returns those that failed.

    A job is done when its result is there, whatever became of its worker. One whose worker was
    killed is started again; training goes on from its last checkpoint.

    Args:
        jobs: what to do; an evaluation waits for the training of its model.
        folder: the folder of the study.
        start: starts a worker.
        write: writes the file that the worker of a job reads.
        slots: jobs that run at the same time.
        on_done: called with each job whose result is there, also those from before.
        title: heading of the progress.
    """
    state = _State(waiting=[])
    for job in jobs:
        if folder.result(job).is_file():
            state.finished.add(job.file_name)
            on_done(job)
        else:
            state.waiting.append(job)
    try:
        with SweepProgress(len(jobs), title, done=len(state.finished)) as progress:
            while state.waiting or state.running:
                _fill(state, folder=folder, start=start, write=write, slots=slots)
                _collect(state, folder=folder, on_done=on_done)
                _show(state, progress, folder=folder, slots=slots)
                if state.running:
                    time.sleep(_POLL_SECONDS)
    finally:
        for _, running, _ in state.running.values():  # only where something ended this early
            running.stop()
    return state.failures


def _fill(
    state: _State,
    *,
    folder: StudyFolder,
    start: Start,
    write: Callable[[Job], Path],
    slots: int,
) -> None:
    """Start what can start: evaluations before trainings, so that rows come early."""
    failed = {failure.job.file_name for failure in state.failures}
    for job in [job for job in state.waiting if job.needs in failed]:
        state.waiting.remove(job)
        state.failures.append(Failure(job=job, reason=f"{job.needs}, which it needs, failed"))
    ready = [job for job in state.waiting if job.needs is None or job.needs in state.finished]
    for job in sorted(ready, key=lambda job: job.kind in ("pretrain", "train")):
        if len(state.running) >= slots:
            return
        state.waiting.remove(job)
        log = folder.log(job)
        state.running[job.file_name] = (job, start(write(job), log), time.monotonic())


def _collect(state: _State, *, folder: StudyFolder, on_done: Callable[[Job], None]) -> None:
    for name, (job, running, began) in list(state.running.items()):
        code = running.poll()
        if code is None:
            continue
        del state.running[name]
        if folder.result(job).is_file():
            state.finished.add(job.file_name)
            state.took.setdefault(job.kind, []).append(time.monotonic() - began)
            on_done(job)
        elif code < 0 and state.restarts.get(name, 0) < MOST_RESTARTS:
            state.restarts[name] = state.restarts.get(name, 0) + 1
            state.waiting.insert(0, job)
        else:
            state.failures.append(Failure(job=job, reason=_reason(code, folder.log(job))))


def _show(state: _State, progress: SweepProgress, *, folder: StudyFolder, slots: int) -> None:
    now = time.monotonic()
    underway = [
        Underway(job=job, seconds=now - began, part=_part_of(job, folder))
        for job, _, began in state.running.values()
    ]
    took: Mapping[JobKind, list[float]] = state.took
    left = seconds_left(state.waiting, underway, took=took, slots=slots)
    progress.update(len(state.finished), underway, left=left)


def _part_of(job: Job, folder: StudyFolder) -> float:
    """Return which part of a training is done, from the last line of its log of metrics."""
    if job.kind != "train":
        return 0.0
    try:
        with (folder.model(job.id) / "metrics.jsonl").open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - _LAST_BYTES))
            lines = file.read().split(b"\n")[:-1]
    except OSError:  # not begun
        return 0.0
    step = lines[-1].partition(b'"step": ')[2].partition(b",")[0] if lines else b""
    total = job.setup.experiment.optim.num_steps
    return min(1.0, int(step) / total) if step.isdigit() else 0.0


def _reason(code: int, log: Path) -> str:
    """Say why a worker gave up: the message that it ended with."""
    if code < 0:
        return (
            f"its worker was killed {MOST_RESTARTS + 1} times (the last time by signal {-code}), as "
            "a machine does that is out of memory; start fewer --jobs"
        )
    try:
        said = log.read_text(encoding="utf-8", errors="replace").strip().split("\n")
    except OSError:
        said = []
    messages = [line for line in said if line.startswith("jepawm: ")] or said[-1:]
    last = messages[-1].removeprefix("jepawm: ") if messages else f"exit code {code}"
    return plain_text(last) if code == 2 else f"{plain_text(last)} (a fault; see {log})"


def require_done(failures: list[Failure], *, rows: Path) -> None:
    """End with what failed, where something did; what was measured is kept."""
    if not failures:
        return
    lines = "; ".join(f"{one.job.title}: {one.reason}" for one in failures)
    raise UserError(
        f"{len(failures)} of the sweep's jobs failed ({lines}); the rows of the others are in {rows}; "
        "mend this, then run the same command again"
    )
