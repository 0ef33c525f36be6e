"""`jepawm diagnose`: what it prints, and what it refuses with code 2."""

import json
from pathlib import Path

import pytest

from jepawm.cli import main

QUICK = ["--stretches", "2", "--steps", "4", "--tasks", "2", "--candidates", "2", "--device", "cpu"]


def test_a_bundled_model_as_text_and_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    rows = tmp_path / "rows.jsonl"
    options = ["--parts", "predictions", "landscape", "--row", str(rows), *QUICK]
    assert main(["diagnose", "wall", *options, "--out", str(tmp_path / "one")]) == 0
    text = capsys.readouterr().out
    assert "error of tokens, open loop" in text
    assert "a real frame every 3" in text
    assert "left out: failures: not asked for" in text
    assert f"written: {tmp_path / 'one' / 'diagnosis.json'}" in text
    assert (tmp_path / "one" / "experiment.json").is_file()  # for the report
    assert main(["diagnose", "wall", *options, "--json", "--out", str(tmp_path / "two")]) == 0
    found = json.loads(capsys.readouterr().out)
    written = json.loads((tmp_path / "one" / "diagnosis.json").read_text())
    assert {name: found[name] for name in written} == written
    assert len(found["landscapes"]) == 3
    assert set(found["seconds"]) == {"predictions", "landscape"}
    first, second = (json.loads(line) for line in rows.read_text().splitlines())
    assert first["drift"] == second["drift"]
    steps = [one["drift"]["curves"]["tokens"][0]["steps"] for one in (first, written)]
    assert steps[0][-1]["model"] == pytest.approx(steps[1][-1]["model"], rel=1e-4)
    assert first["command"].startswith("jepawm diagnose wall --parts predictions landscape")
    assert str(tmp_path) not in first["command"]


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["nonsense"], "no model 'nonsense'"),
        (["wall", "--steps", "1"], "--steps 1; give at least 3"),
        (["wall", "--every", "0"], "--every 0"),
        (["wall", "--directions", "0", "7"], "has 2 numbers"),
        (["wall", "--protocol", "what"], "unknown protocol"),
        (["wall", "--seed", "-1"], "--seed -1"),
        (["wall", "--planner", "cem", "--preset", "fast"], "give one of them"),
        (["wall", "--row", "."], "give a file of rows"),
        (["wall", "--data", "nowhere"], "nowhere"),
        (["wall", "--out", "file"], "file"),
        (["wall", "--row", "file/row.jsonl"], "file"),
        (["jepa_wm_droid", "--device", "cpu"], ""),
    ],
)
def test_bad_input_ends_with_code_2(
    options: list[str],
    complaint: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pytest.importorskip("huggingface_hub.constants"), "HF_HUB_OFFLINE", True)
    (tmp_path / "file").write_text("mine\n")
    assert main(["diagnose", *options, "--parts", "landscape", "--data-root", "data"]) == 2
    captured = capsys.readouterr()
    assert complaint in captured.err
    assert captured.err.startswith("jepawm: ") or "\njepawm: " in captured.err
    assert "Traceback" not in captured.err
    assert (tmp_path / "file").read_text() == "mine\n"


@pytest.mark.parametrize("value", ["what", "predictions,failures"])
def test_an_unknown_part_is_refused_by_the_parser(value: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as stopped:
        main(["diagnose", "wall", "--parts", value])
    assert stopped.value.code == 2
    assert "predictions" in capsys.readouterr().err
