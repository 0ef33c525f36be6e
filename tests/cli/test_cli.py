"""The command line: help, exit codes, messages and JSON."""

import contextlib
import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import jepawm
from jepawm.cli import VERBS, main
from jepawm.cli.parsing import Command, Outcome
from jepawm.errors import UserError

PROGRAM = "import sys; from jepawm.cli import main; sys.exit(main())"


def run_program(code: str, *argv: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *argv],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | environment,
    )


def stub(
    monkeypatch: pytest.MonkeyPatch, action: Callable[[], Outcome], *, as_json: bool = False
) -> None:
    monkeypatch.setattr(
        "jepawm.cli.prepare", lambda _verb, _argv: Command(run=action, as_json=as_json)
    )


def test_help_lists_every_verb(capsys: pytest.CaptureFixture[str]):
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    for name in VERBS:
        assert f"  {name} " in text
    assert main([]) == 0
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.endswith(f"jepawm {jepawm.__version__}\n")


@pytest.mark.parametrize("argv", [["--help"], *[[verb, "--help"] for verb in VERBS]], ids=str)
def test_help_does_not_wait_for_torch(argv: list[str]):
    code = (
        "import sys\nfrom jepawm.cli import main\n"
        "try:\n    code = main(sys.argv[1:])\nexcept SystemExit as stop:\n    code = stop.code\n"
        "assert 'torch' not in sys.modules\nassert 'pyarrow' not in sys.modules\nsys.exit(code)"
    )
    done = run_program(code, *argv)
    assert done.returncode == 0, done.stderr
    assert "jepawm" in done.stdout


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (
            ["trian"],
            "unknown verb 'trian' (known: train, train-proposer, train-decoder, train-reward, train-text, eval",
        ),
        (["train"], "name a recipe"),
        (["train", "wal"], "unknown recipe 'wal'; did you mean 'wall'? (known: "),
        (["train", "wall", "--planner", "cen"], "unknown planner 'cen'"),
        (["eval", "wall", "--planner", "cen"], "unknown planner 'cen'"),
        (
            ["eval", "wall", "--preset", "fats"],
            "unknown preset 'fats' (known: paper, direct, propose, fast,",
        ),
        (["eval", "wall", "--preset", "fast", "--planner", "cem"], "give one of them"),
        (["check", "golden", "no/such/folder"], "no/such/folder is not a folder"),
        (["report", ""], "an argument is empty"),
        (["data", "inspect", "x", "--format="], "--format is empty"),
        (["report", "a\0b"], "null character"),
        (["report", "caf\udce9"], r"caf\udce9 is no UTF-8 text; rename"),
        (["data", "import", "x", "--out", "/"], "--out / is the root of the disk"),
        (["report", "n" * 300], "File name too long; give a shorter path"),
        (["report", "\x1b[2Jx"], r"\x1b[2Jx is not a run directory"),
    ],
    ids=str,
)
def test_what_the_user_can_mend_is_one_message_and_code_2(
    argv: list[str], message: str, capsys: pytest.CaptureFixture[str]
):
    assert main(argv) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("jepawm: ")
    assert message in captured.err
    assert "Traceback" not in captured.err


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(errno.ELOOP, "Too many levels", "a"), "a: Too many levels; its links lead"),
        (OSError(errno.ENOENT, "Gone", "a", None, "b"), "a and b: Gone; check the path"),
        (OSError(errno.EACCES, "Denied", b"a"), "a: Denied; ask for the right to use it"),
        (OSError(errno.ENOSPC, "Full"), "Full; free some space or choose another folder"),
        (OSError(errno.ENXIO, "No device", "\x1b"), r"\x1b: No device; check the path, or choose"),
    ],
    ids=str,
)
def test_what_the_operating_system_refuses_has_a_remedy(
    error: OSError, message: str, monkeypatch, capsys
):
    def refuse(*_: object) -> None:
        raise error

    monkeypatch.setattr("jepawm.report.write_report", refuse)
    assert main(["report", "run"]) == 2
    assert f"jepawm: {message}" in capsys.readouterr().err


def test_an_error_of_a_library_that_is_no_answer_of_the_system_is_a_fault(monkeypatch):
    def fail(*_: object) -> None:
        raise OSError("some library says this")

    monkeypatch.setattr("jepawm.report.write_report", fail)
    with pytest.raises(OSError, match="some library"):
        main(["report", "run"])


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["eval", "wall", "--device", "gpu"], "'auto', 'cpu', 'cuda', 'mps'"),
        (["collect", "wall", "--num-episode", "3"], "--num-episodes"),
        (["check", "silver", "x"], "golden"),
        (["eval", "wall", "--episodes", "many"], "--episodes"),
    ],
    ids=str,
)
def test_a_wrong_option_names_the_right_ones(
    argv: list[str], message: str, capsys: pytest.CaptureFixture[str]
):
    with pytest.raises(SystemExit) as caught:
        main(argv)
    assert caught.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert message in " ".join(captured.err.split())


def test_json_is_the_only_thing_on_stdout(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def talk() -> Outcome:
        print("on the way")
        return Outcome(result={"success": 0.5}, text="", exit_code=1)

    stub(monkeypatch, talk, as_json=True)
    assert main(["eval"]) == 1
    captured = capsys.readouterr()
    assert json.loads(captured.out) == {"success": 0.5}
    assert captured.err == "on the way\n"


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (UserError("field x = 3 is above 2; lower it"), "jepawm: field x = 3 is above 2; lower it"),
        (KeyboardInterrupt(), "interrupted"),
        (OSError(28, "No space left on device", "a/pixels.npy"), "a/pixels.npy"),
    ],
    ids=["user", "interrupt", "disk"],
)
def test_expected_errors_end_with_code_2(
    error: BaseException,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    def fail() -> Outcome:
        raise error

    stub(monkeypatch, fail)
    assert main(["train"]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    "argv",
    [
        ["data", "inspect", "nowhere", "--json"],
        ["eval", "nowhere", "--json"],
        ["train", "wall", "--optim.num-step", "3", "--json"],
        ["collect", "wall", "--json", "--num-episodes", "many"],
        ["nothing", "--json"],
        ["plan", "wall", "--protocol=", "--json"],
    ],
    ids=" ".join,
)
def test_errors_are_json_too(argv: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path):
    with contextlib.chdir(tmp_path):
        assert main(argv) == 2
    captured = capsys.readouterr()
    error = json.loads(captured.out)["error"]
    assert captured.err == f"jepawm: {error}\n"
    assert "\n" not in error
    assert "│" not in error


def test_a_fault_is_json_too():
    code = (
        "import sys\nfrom jepawm import cli\n"
        "def fault(verb, argv): raise ZeroDivisionError('by nought')\n"
        "cli.prepare = fault\nsys.exit(cli.main())"
    )
    done = run_program(code, "list", "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["error"].startswith("ZeroDivisionError: by nought (this is")


def test_a_fault_ends_with_code_1_and_hides_the_traceback_unless_asked():
    code = (
        "import sys\nfrom jepawm import cli\n"
        "def fault(verb, argv): raise ZeroDivisionError('by nought')\n"
        "cli.prepare = fault\nsys.exit(cli.main())"
    )
    hidden = run_program(code, "list")
    assert hidden.returncode == 1
    assert "ZeroDivisionError: by nought" in hidden.stderr
    assert "JEPAWM_TRACEBACK=1" in hidden.stderr
    assert "Traceback" not in hidden.stderr
    shown = run_program(code, "list", JEPAWM_TRACEBACK="1")
    assert shown.returncode == 1
    assert "Traceback" in shown.stderr


def test_a_reader_that_leaves_early_is_no_error():
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, "--help"],
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(writer)
    assert done.stderr == ""


def test_check_golden_tells_by_its_exit_code_whether_all_hold(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "unknown_kind.npz").write_bytes(b"broken")
    assert main(["check", "golden", str(tmp_path)]) == 2
    text = capsys.readouterr().out
    assert "unknown_kind" in text
    assert "0 passed, 1 failed, 0 cannot run yet" in text
    assert main(["check", "golden", str(tmp_path), "--json"]) == 2
    result = json.loads(capsys.readouterr().out)
    assert result["counts"] == {"passed": 0, "failed": 1, "cannot_run_yet": 0}
    assert result["cases"][0]["verdict"] == "fail"
