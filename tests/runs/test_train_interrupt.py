"""Ctrl-C and SIGKILL on real processes: nothing is lost, going on equals never stopping."""

import os
import random
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from jepawm.checkpoint import load_checkpoint, read_record
from jepawm.cli import main
from jepawm.errors import UserError
from jepawm.launch import STOP_SIGNALS
from jepawm.runs.train import StopRequest

RUN = [sys.executable, "-c", "from jepawm.cli import main; raise SystemExit(main())"]
TINY = [
    *("--data.num-episodes", "12", "--data.image-size", "16", "--encoder.image-size", "16"),
    *("--predictor.depth", "1", "--predictor.visual-dim", "16", "--optim.batch-size", "8"),
    *("--loop.log-every", "1", "--loop.save-every", "5", "--loop.validate-every", "1000"),
    *("--loss.num-directions", "8", "--proposals.num-steps", "0"),
]


def options(out: Path, data_root: Path, *, num_steps: int) -> list[str]:
    folders = ["--out", str(out), "--data-root", str(data_root), "--device", "cpu"]
    return ["train", "wall", *TINY, "--optim.num-steps", str(num_steps), *folders]


def start(argv: list[str], project_root: Path) -> subprocess.Popen[str]:
    path = os.pathsep.join([str(project_root / "src"), os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(
        [*RUN, *argv],
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_rows(out: Path, process: subprocess.Popen[str], *, count: int) -> None:
    path = out / "metrics.jsonl"
    while process.poll() is None and not (
        path.exists() and path.read_bytes().count(b"\n") >= count
    ):
        time.sleep(0.002)


def assert_same(out: Path, expected: Path, moment: str) -> None:
    found, wanted = (
        load_checkpoint(run / "checkpoint", with_training=True) for run in (out, expected)
    )
    assert found.tensors.keys() == wanted.tensors.keys()
    for name, value in wanted.tensors.items():
        assert torch.equal(value, found.tensors[name]), (name, moment)
    assert found.training is not None
    assert wanted.training is not None
    for name, value in wanted.training.items():
        assert name == "seconds" or torch.equal(value, found.training[name]), (name, moment)


@pytest.fixture(scope="module")
def uninterrupted(one_thread: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a run that nothing disturbed; its data lies beside it."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    assert main(options(folder / "run", folder / "data", num_steps=60)) == 0
    return folder / "run"


def test_killed_in_training_and_resumed(uninterrupted: Path, tmp_path: Path, project_root: Path):
    out = tmp_path / "run"
    argv = options(out, uninterrupted.parent / "data", num_steps=60)
    process = start(argv, project_root)
    steps, delay = random.randint(1, 20), random.uniform(0, 0.02)
    wait_for_rows(out, process, count=steps)
    time.sleep(delay)
    process.kill()
    process.communicate()
    assert process.returncode in (-signal.SIGKILL, 0)  # 0: a busy machine let it end first
    assert main([*argv, "--resume"]) == 0
    assert_same(out, uninterrupted, f"killed {delay} s after step {steps}")


@pytest.mark.slow
@pytest.mark.parametrize("number", range(3))
def test_killed_at_any_moment_and_resumed(
    uninterrupted: Path, tmp_path: Path, project_root: Path, number: int
):
    """From the start of the process on: while importing, collecting, saving, training."""
    out = tmp_path / "run"
    argv = options(out, tmp_path / "data", num_steps=60)
    process = start(argv, project_root)
    delay = random.uniform(0, 8)
    time.sleep(delay)
    process.kill()
    process.communicate()
    assert main([*argv, "--resume"]) == 0
    assert_same(out, uninterrupted, f"killed {delay} s after the start")


def test_ctrl_c_writes_a_checkpoint_and_prints_the_resume_command(
    uninterrupted: Path, tmp_path: Path, project_root: Path
):
    out, data_root = tmp_path / "my run", uninterrupted.parent / "data"
    process = start(options(out, data_root, num_steps=100_000), project_root)
    wait_for_rows(out, process, count=2)
    process.send_signal(signal.SIGINT)
    _, messages = process.communicate(timeout=60)
    assert process.returncode == 2, messages
    last = messages.strip().splitlines()[-1]
    assert last.startswith("jepawm: stopped; a checkpoint is written, continue with: jepawm train")
    command = shlex.split(last.partition("continue with: ")[2])
    folders = ["--out", str(out), "--data-root", str(data_root)]
    assert command == ["jepawm", "train", "wall", *folders, "--device", "cpu", "--resume"]
    load_checkpoint(out / "checkpoint", with_training=True)
    rows = (out / "metrics.jsonl").read_text().splitlines()
    assert read_record(out / "checkpoint").step == len(rows) >= 2


def interrupted(*numbers: signal.Signals, error: Exception | None = None) -> None:
    """Receive signals inside a run, then raise `error`."""
    with StopRequest("the command") as stop:
        assert not stop()
        for number in numbers:
            signal.raise_signal(number)
            assert stop()
        if error is not None:
            raise error


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_a_stop_is_noted_and_signals_are_given_back(number: signal.Signals):
    before = signal.getsignal(number)
    with pytest.raises(UserError, match="continue with: the command"):
        interrupted(number)
    assert signal.getsignal(number) is before


def test_ctrl_c_is_heeded_where_a_script_started_the_run_in_the_background():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with pytest.raises(UserError, match="continue with: the command"):
            interrupted(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_closed_terminal_is_ignored_where_it_was():
    """As `nohup` asks for."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopRequest("the command") as stop:
            signal.raise_signal(signal.SIGHUP)
            assert not stop()
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_terminal_that_closes_loses_no_step(
    uninterrupted: Path, tmp_path: Path, project_root: Path
):
    """The process hangs up, and nothing can be written to its terminal any more."""
    pty = pytest.importorskip("pty")
    out = tmp_path / "run"
    argv = options(out, uninterrupted.parent / "data", num_steps=100_000)
    path = os.pathsep.join([str(project_root / "src"), os.environ.get("PYTHONPATH", "")])
    process_id, terminal = pty.fork()
    if process_id == 0:  # the child, whose terminal it is
        os.environ |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": path, "TERM": "xterm"}
        os.execv(RUN[0], [*RUN, *argv])
    metrics = out / "metrics.jsonl"
    while not (metrics.exists() and metrics.read_bytes().count(b"\n") >= 3):
        os.read(terminal, 2**16)
    os.close(terminal)
    _, status = os.waitpid(process_id, 0)
    rows = metrics.read_text().splitlines()
    assert os.waitstatus_to_exitcode(status) == 2
    assert read_record(out / "checkpoint").step == len(rows) >= 3


def test_a_second_ctrl_c_interrupts_at_once():
    with pytest.raises(KeyboardInterrupt):
        interrupted(signal.SIGINT, signal.SIGINT)


def test_another_error_is_not_hidden_by_a_stop():
    with pytest.raises(ValueError, match="first"):
        interrupted(signal.SIGINT, error=ValueError("first"))


def test_a_signal_during_the_question_is_not_lost(monkeypatch: pytest.MonkeyPatch):
    numbers = [signal.SIGTERM]

    def interrupted_any(flag: bool) -> bool:
        while numbers:
            signal.raise_signal(numbers.pop())
        return flag

    monkeypatch.setattr("jepawm.runs.train.any_process", interrupted_any)
    with pytest.raises(UserError, match="stopped"):
        interrupted()
