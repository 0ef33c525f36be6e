"""`jepawm study` on the command line."""

import json
from pathlib import Path

import pytest

from jepawm.cli import main
from jepawm.study.known_axes import AXES


def test_axes_are_listed(capsys: pytest.CaptureFixture[str]):
    assert main(["study", "list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)["axes"]
    assert [one["name"] for one in listed] == [axis.name for axis in AXES]
    assert main(["study", "list"]) == 0
    assert "predictor.window" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["study"], "say what to do: jepawm study list|run|report|work"),
        (["study", "walk"], "say what to do"),
        (["study", "run", "widow", "wall"], "unknown axis 'widow' (known: encoder, size,"),
        (["study", "run", "window", "wal"], "unknown recipe 'wal'; did you mean 'wall'?"),
        (
            ["study", "run", "window", "wall", "--values", "4"],
            "unknown value '4' of the axis window",
        ),
        (["study", "run", "window", "wall", "--values", "1,,2"], "a name between commas is empty"),
        (
            ["study", "run", "positions", "wall"],
            "positions means nothing for wall: its encoder makes",
        ),
        (["study", "run", "window", "robot"], "has no environment to act in"),
        (["study", "run", "window", "wall", "--episodes", "1"], "--episodes 1; an interval needs"),
        (["study", "report", "absent.jsonl"], "absent.jsonl"),
        (["study", "report"], "there are no rows in results/study"),
        (["study", "work", "absent.json"], "absent.json"),
    ],
)
def test_what_is_wrong_is_said(
    argv: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.chdir(tmp_path)
    assert main(argv) == 2
    said = capsys.readouterr().err
    assert message in said
    assert "Traceback" not in said
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_another_study_is_left_alone(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    (tmp_path / "thesis.txt").write_text("mine")
    assert main(["study", "run", "planner", "wall", "--out", str(tmp_path)]) == 2
    assert "is no folder of a study" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
