"""Progress of a sweep: the time left, and plain lines where stderr is no terminal."""

import io

from rich.console import Console

from jepawm.study.jobs import Job
from jepawm.study.progress import SweepProgress, Underway, seconds_left
from jepawm.study.setup import Setup


def job(base: Setup, kind="train", title: str = "train a") -> Job:
    return Job(kind=kind, id="i", setup=base, model="m", title=title)


def test_the_time_left_is_that_of_jobs_like_those_that_are_done(base: Setup):
    train, evaluate = job(base), job(base, "evaluate")
    took = {"train": [100.0, 140.0], "evaluate": [10.0]}
    running = Underway(job=train, seconds=60.0, part=0.25)
    left = seconds_left([train, evaluate], [running], took=took, slots=2)
    assert left == (120.0 + 10.0 + 0.75 * 120.0) / 2


def test_a_training_that_runs_tells_how_long_trainings_take(base: Setup):
    running = Underway(job=job(base), seconds=30.0, part=0.1)
    assert seconds_left([job(base)], [running], took={}, slots=1) == 300.0 + 270.0
    unknown = Underway(job=job(base), seconds=30.0, part=0.0)
    assert seconds_left([], [unknown], took={}, slots=1) is None
    assert seconds_left([], [], took={}, slots=1) == 0.0


def test_a_job_without_a_known_part_counts_by_its_seconds(base: Setup):
    running = Underway(job=job(base, "evaluate"), seconds=5.0, part=0.0)
    assert seconds_left([], [running], took={"evaluate": [20.0]}, slots=1) == 15.0


def test_elsewhere_than_on_a_terminal_there_are_plain_lines(base: Setup):
    stream, seconds = io.StringIO(), [0.0]
    console = Console(file=stream, force_terminal=False, width=200)
    running = [Underway(job=job(base), seconds=1.0, part=0.5)]
    with SweepProgress(3, "study", console=console, clock=lambda: seconds[0]) as progress:
        progress.update(0, running, left=None)
        seconds[0] = 30.0
        progress.update(1, running, left=3661.0)
        progress.update(1, running, left=3600.0)
        seconds[0] = 95.0
        progress.update(1, running, left=60.0)
        progress.update(3, [], left=0.0)
    assert stream.getvalue().splitlines() == [
        "study 1/3  train a 50%  1:01:01 left",
        "study 1/3  train a 50%  0:01:00 left",
        "study 3/3",
    ]


def test_on_a_terminal_there_is_a_bar(base: Setup):
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=100)
    with SweepProgress(2, "study", console=console) as progress:
        progress.update(1, [Underway(job=job(base), seconds=1.0, part=0.5)], left=5.0)
        progress.update(2, [], left=0.0)
    assert "2/2" in stream.getvalue()
