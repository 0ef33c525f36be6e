import io
from pathlib import Path

import pytest
from rich.console import Console

from jepawm.collection import collect
from jepawm.progress import TrainingProgress, lines


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def run_progress(console: Console, *, start: int = 0) -> None:
    clock = Clock()
    with TrainingProgress(
        100, "train wall", start=start, line_seconds=10.0, console=console, clock=clock
    ) as progress:
        for step in range(start + 1, 101):
            clock.now += 0.5
            progress.update(step, {"train/loss": 0.25, "train/grad_norm": 3.0, "val/x": 1.0})


def test_plain_lines_where_stderr_is_no_terminal():
    out = io.StringIO()
    run_progress(Console(file=out, force_terminal=False, width=200))
    assert out.getvalue().splitlines() == [
        "train wall 20/100  loss 0.25  2.0 steps/s  0:40 left",
        "train wall 40/100  loss 0.25  2.0 steps/s  0:30 left",
        "train wall 60/100  loss 0.25  2.0 steps/s  0:20 left",
        "train wall 80/100  loss 0.25  2.0 steps/s  0:10 left",
        "train wall 100/100  loss 0.25  2.0 steps/s  0:00 left",
    ]


def test_resumed_progress_counts_only_its_own_steps_for_the_rate():
    out = io.StringIO()
    run_progress(Console(file=out, force_terminal=False, width=200), start=60)
    lines = out.getvalue().splitlines()
    assert lines[0] == "train wall 80/100  loss 0.25  2.0 steps/s  0:10 left"


def test_terminal_shows_a_bar():
    out = io.StringIO()
    run_progress(Console(file=out, force_terminal=True, width=120))
    assert "100/100" in out.getvalue()
    assert "loss 0.25" in out.getvalue()


def test_items_are_handed_on_with_plain_lines(capsys: pytest.CaptureFixture[str]):
    done = list(lines(iter("abc"), "reading", total=3, line_seconds=0.0))
    assert done == ["a", "b", "c"]
    assert capsys.readouterr().err.splitlines() == ["reading 1/3", "reading 2/3", "reading 3/3"]
    assert list(lines([1], "reading", total=1, shown=False, line_seconds=0.0)) == [1]
    assert not capsys.readouterr().err


def test_a_collection_says_how_far_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = tmp_path / "store"
    collect("wall", path=path, num_episodes=2, num_steps=3, image_size=16, seed=0)
    assert capsys.readouterr().err.splitlines()[-1] == "collecting wall 2/2  episodes"
