"""Jobs in processes of their own: order, killed workers, failures. The workers here are small programs."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from jepawm.errors import UserError
from jepawm.study.executors import Running
from jepawm.study.folder import StudyFolder, open_folder
from jepawm.study.jobs import Job
from jepawm.study.setup import Rules, Setup
from jepawm.study.sweep import MOST_RESTARTS, Failure, require_done, run_jobs

DONE = (
    "import pathlib, sys\np = pathlib.Path(sys.argv[1]); p.parent.mkdir(exist_ok=True); p.touch()"
)
KILLED = "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)"
REFUSED = "import sys\nprint('noise'); print('jepawm: the disk is full; free some'); sys.exit(2)"
CRASHED = "raise RuntimeError('a bug')"


class Program:
    """A worker."""

    def __init__(self, code: str, result: Path, log: Path) -> None:
        log.parent.mkdir(exist_ok=True)
        with log.open("ab") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-c", code, str(result)], stdout=file, stderr=file
            )

    def poll(self) -> int | None:
        return self.process.poll()

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


def jobs_of(base: Setup) -> tuple[Job, Job, Job]:
    train = Job(kind="train", id="m", setup=base, model="m", title="train a")
    return (
        train,
        replace(train, kind="evaluate", id="e1", title="evaluate a", needs="train-m"),
        replace(train, kind="evaluate", id="e2", title="evaluate b", needs="train-m"),
    )


def sweep(
    jobs: tuple[Job, ...], folder: StudyFolder, code: Callable[[Job], str], *, slots: int = 2
) -> tuple[list[str], list[str], list[Failure]]:
    """Run jobs; returns what started, what got done, and what failed."""
    started: list[str] = []
    done: list[str] = []
    by_name = {job.file_name: job for job in jobs}

    def start(work: Path, log: Path) -> Running:
        job = by_name[work.name]
        started.append(job.id)
        return Program(code(job), folder.result(job), log)

    failures = run_jobs(
        jobs,
        folder=folder,
        start=start,
        write=lambda job: Path(job.file_name),
        slots=slots,
        on_done=lambda job: done.append(job.id),
        title="sweep",
    )
    return started, done, failures


@pytest.fixture
def folder(tmp_path: Path) -> StudyFolder:
    return open_folder(tmp_path / "study", Rules())


def test_evaluations_wait_for_their_model_and_all_get_done(base: Setup, folder: StudyFolder):
    started, done, failures = sweep(jobs_of(base)[::-1], folder, lambda _: DONE)
    assert started[0] == "m"
    assert sorted(done) == ["e1", "e2", "m"]
    assert failures == []


def test_what_is_there_is_told_and_not_done_again(base: Setup, folder: StudyFolder):
    jobs = jobs_of(base)
    sweep(jobs[:2], folder, lambda _: DONE)
    started, done, _ = sweep(jobs, folder, lambda _: DONE)
    assert started == ["e2"]
    assert sorted(done) == ["e1", "e2", "m"]


def test_a_killed_worker_is_started_again(base: Setup, folder: StudyFolder):
    kills = iter([KILLED, KILLED, DONE])
    started, done, failures = sweep(jobs_of(base)[:1], folder, lambda _: next(kills))
    assert (started, done, failures) == (["m"] * 3, ["m"], [])


def test_a_worker_that_is_killed_after_its_result_was_written_is_done(base, folder: StudyFolder):
    started, done, failures = sweep(jobs_of(base)[:1], folder, lambda _: f"{DONE}\n{KILLED}")
    assert (started, done, failures) == (["m"], ["m"], [])


def test_a_worker_that_is_always_killed_ends_as_a_failure(base: Setup, folder: StudyFolder):
    started, done, failures = sweep(jobs_of(base), folder, lambda _: KILLED)
    assert started == ["m"] * (MOST_RESTARTS + 1)
    assert done == []
    assert "killed 6 times (the last time by signal 9)" in failures[0].reason
    assert {one.reason for one in failures[1:]} == {"train-m, which it needs, failed"}


def test_one_failure_leaves_the_others_alone_and_is_told(base: Setup, folder: StudyFolder):
    codes = {"m": DONE, "e1": REFUSED, "e2": DONE}
    _, done, failures = sweep(jobs_of(base), folder, lambda job: codes[job.id])
    assert sorted(done) == ["e2", "m"]
    assert [one.reason for one in failures] == ["the disk is full; free some"]
    with pytest.raises(UserError, match=r"1 of .*evaluate a: the disk is full.* the same command"):
        require_done(failures, rows=Path("rows"))
    require_done([], rows=Path("rows"))


def test_a_fault_names_its_log(base: Setup, folder: StudyFolder):
    _, _, failures = sweep(jobs_of(base)[:1], folder, lambda _: CRASHED)
    assert "RuntimeError: a bug (a fault; see " in failures[0].reason
