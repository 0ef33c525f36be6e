"""Results go out as JSON that every reader takes, or as text."""

import json
import math
from dataclasses import dataclass
from pathlib import Path

import pytest

from jepawm.cli.output import print_json, render_evaluation, render_fields, to_json
from jepawm.evaluation.results import Results, Row


def test_json_has_no_paths_and_no_numbers_that_json_lacks(capsys: pytest.CaptureFixture[str]):
    print_json({"run": Path("a/b"), "loss": math.nan, "ci95": (0.5, 1.0), "inner": {"x": None}})
    assert json.loads(capsys.readouterr().out) == {
        "run": "a/b",
        "loss": None,
        "ci95": [0.5, 1.0],
        "inner": {"x": None},
    }


def test_json_refuses_what_it_cannot_hold():
    with pytest.raises(TypeError, match="does not go into JSON"):
        print_json({"thing": object()})


@dataclass(frozen=True, kw_only=True)
class Inner:
    loss: float
    note: str | None = None


@dataclass(frozen=True, kw_only=True)
class Outer:
    run: Path
    error: float | None = None
    best: Inner
    all: tuple[Inner, ...] = ()
    unknown: str | None


def test_a_result_becomes_an_object_without_what_may_be_left_out():
    bare = Outer(run=Path("a"), best=Inner(loss=1.0), unknown=None)
    assert list(to_json(bare).items()) == [
        ("run", Path("a")),
        ("best", {"loss": 1.0}),
        ("all", []),
        ("unknown", None),
    ]
    full = Outer(
        run=Path("a"),
        error=0.5,
        best=Inner(loss=1.0, note="x"),
        all=(Inner(loss=2.0),),
        unknown="y",
    )
    assert list(to_json(full).items()) == [
        ("run", Path("a")),
        ("error", 0.5),
        ("best", {"loss": 1.0, "note": "x"}),
        ("all", [{"loss": 2.0}]),
        ("unknown", "y"),
    ]


def test_evaluation_shows_every_row_with_its_interval():
    results = Results(
        env="wall",
        protocol="paper",
        num_tasks=96,
        seed=3,
        rows={
            "do_nothing": Row(success=0.0),
            "random": Row(success=0.052),
            "oracle": Row(success=0.92, interval=(0.85, 0.96)),
            "model": Row(success=0.9375, interval=(0.87, 0.97)),
        },
        seconds_per_plan=0.1234567,
    )
    text = render_evaluation(results, Path("a/results.json"))
    lines = text.splitlines()
    assert lines[0] == "wall, protocol paper, 96 tasks, seed 3"
    assert [line.split("%")[0].split()[-1] for line in lines[1:5]] == ["0.0", "5.2", "92.0", "93.8"]
    assert lines[3].endswith("[85.0, 96.0]")
    assert lines[4].endswith("[87.0, 97.0]")
    assert lines[5:] == ["  seconds per plan: 0.1235", "  written: a/results.json"]


def test_fields_are_aligned():
    assert render_fields({"a": 0.25, "long": [1, 2]}) == "a     0.25\nlong  1, 2"
    assert render_fields({}) == ""
