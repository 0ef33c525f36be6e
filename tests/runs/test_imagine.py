"""`jepawm imagine` on a tiny run: films of a task and of recordings, errors, refusals."""

import json
import shutil
import sys
from pathlib import Path

import pytest

from jepawm.cli import main
from jepawm.decoding import DecodingConfig
from jepawm.runs import DecoderRules, train_decoder_run

CONFIG = DecodingConfig(num_steps=2, probe_steps=2, batch_size=4, width=16, depth=1, channels=4)
FILES = {
    f"{name}.{kind}"
    for name in ("imagined", "counterfactuals", "planning")
    for kind in ("mp4", "gif")
}


@pytest.fixture(scope="module")
def run(tiny_run: Path, wall_data_root: Path, tmp_path_factory) -> Path:
    """Return a copy of a finished run, with a decoder."""
    run = Path(shutil.copytree(tiny_run, tmp_path_factory.mktemp("eyes") / "run"))
    train_decoder_run(
        str(run), CONFIG, rules=DecoderRules(), data_root=wall_data_root, device="cpu"
    )
    return run


def test_a_task_is_filmed_and_its_errors_are_told(run: Path, tmp_path: Path, capsys):
    out = tmp_path / "films"
    line = ["imagine", str(run), "--out", str(out), "--device", "cpu"]
    assert main([*line, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert {file.name for file in out.iterdir()} == {*FILES, "imagine.json"}
    written = json.loads((out / "imagine.json").read_text())
    assert written["errors"] == told["errors"]
    assert [row["k"] for row in told["errors"]] == list(range(7))
    first = told["errors"][0]
    assert first["latent"] == 0
    assert first["picture"] == first["picture_seen"]
    assert told["errors"][1]["latent"] == told["errors"][1]["latent_with_frames"]
    assert told["iterations"] == 3  # two of the planner, and the mean at its end
    assert main(line) == 2
    assert "already holds files; choose another --out" in capsys.readouterr().err


def test_recordings_are_filmed(run: Path, wall_data_root: Path, tmp_path: Path, capsys):
    store = next(one for one in wall_data_root.iterdir() if (one / "manifest.json").is_file())
    out = tmp_path / "films"
    line = ["imagine", str(run), "--data", str(store), "--num-blocks", "3", "--out", str(out)]
    assert main([*line, "--preset", "fast", "--device", "cpu"]) == 0
    text = capsys.readouterr().out
    assert "recordings; films and imagine.json in" in text
    assert len(json.loads((out / "imagine.json").read_text())["errors"]) == 4
    line[5] = "90"
    assert main([*line, "--device", "cpu", "--out", str(tmp_path / "other")]) == 2
    assert "has 451 frames; give a smaller --num-blocks" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


def test_without_a_decoder_it_says_how_to_train_one(tiny_run: Path, tmp_path: Path, capsys):
    assert main(["imagine", str(tiny_run), "--out", str(tmp_path / "films")]) == 2
    assert f"train one by `jepawm train-decoder {tiny_run}`" in capsys.readouterr().err
    assert not (tmp_path / "films").exists()


def test_a_file_for_rerun_holds_frames_errors_and_candidates(run: Path, tmp_path: Path, capsys):
    pytest.importorskip("rerun")
    file = tmp_path / "films.rrd"
    line = ["imagine", str(run), "--rerun", str(file), "--device", "cpu", "--out"]
    assert main([*line, str(tmp_path / "films")]) == 0
    content = file.read_bytes()
    assert content.startswith(b"RRF")
    for name in (b"frames/imagined", b"errors/picture", b"plan/elites", b"plan/candidates"):
        assert name in content
    assert main([*line, str(tmp_path / "other")]) == 2
    assert "films.rrd exists; choose another --rerun" in capsys.readouterr().err


def test_a_missing_viewer_is_named(run: Path, tmp_path: Path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "rerun", None)
    line = [
        "imagine",
        str(run),
        "--out",
        str(tmp_path / "films"),
        "--rerun",
        str(tmp_path / "r.rrd"),
    ]
    assert main(line) == 2
    assert "needs rerun, which is not installed; run: pip install 'jepawm[rerun]'" in (
        capsys.readouterr().err
    )
    assert not (tmp_path / "films").exists()
