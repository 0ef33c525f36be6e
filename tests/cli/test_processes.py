"""Processes that the command line starts itself."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jepawm.checkpoint import load_checkpoint
from jepawm.cli import main
from jepawm.cli.processes import run_processes
from jepawm.errors import UserError

TINY = [
    *("--data.num-episodes", "12", "--data.image-size", "16", "--encoder.image-size", "16"),
    *("--predictor.depth", "1", "--predictor.visual-dim", "16", "--optim.batch-size", "8"),
    *("--loop.log-every", "1", "--loop.validate-every", "1000", "--device", "cpu"),
]


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, project_root: Path) -> None:
    path = [str(project_root / "src"), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def test_below_one_is_refused():
    with pytest.raises(UserError, match="--processes 0; give at least 1"):
        run_processes(0, [])


def test_the_exit_code_is_theirs_and_the_message_comes_once(capfd, tmp_path: Path):
    argv = ["eval", str(tmp_path / "nothing"), "--device", "cpu", "--processes", "2"]
    assert main(argv) == 2
    assert capfd.readouterr().err.count("no model") == 1


def test_ctrl_c_on_the_starter_saves_and_stops_all(tmp_path: Path):
    folders = ["--out", str(tmp_path / "run"), "--data-root", str(tmp_path / "data")]
    argv = ["train", "wall", *TINY, *folders, "--devices", "2"]
    process = subprocess.Popen(
        [sys.executable, "-m", "jepawm", *argv, "--optim.num-steps", "100000"],
        stderr=subprocess.PIPE,
        text=True,
    )
    metrics = tmp_path / "run" / "metrics.jsonl"
    while process.poll() is None and not (metrics.exists() and metrics.stat().st_size):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, messages = process.communicate(timeout=120)
    assert process.returncode == 2
    assert messages.count("stopped; a checkpoint is written, go on with") == 1
    saved = load_checkpoint(tmp_path / "run" / "checkpoint").config["step"]
    assert json.loads(metrics.read_text().splitlines()[-1])["step"] == saved
