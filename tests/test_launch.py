"""What torchrun and SLURM say to a process, and processes that the command line starts itself."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jepawm.checkpoint import read_record
from jepawm.cli import main
from jepawm.errors import UserError
from jepawm.launch import Launch, read_launch, restarted, run_processes

SLURM = {
    "SLURM_PROCID": "5",
    "SLURM_LOCALID": "1",
    "SLURM_NTASKS": "8",
    "SLURM_NNODES": "2",
    "SLURM_STEP_ID": "0",
}


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", *SLURM):
        monkeypatch.delenv(name, raising=False)


def say(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


def test_no_launcher():
    assert read_launch() == Launch(launcher="none")


def test_torchrun(monkeypatch: pytest.MonkeyPatch):
    place = {"RANK": "3", "LOCAL_RANK": "1", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2"}
    say(monkeypatch, place)
    expected = Launch(launcher="torchrun", rank=3, local_rank=1, count=4, num_nodes=2)
    assert read_launch() == expected


def test_srun_but_not_the_script_of_sbatch(monkeypatch: pytest.MonkeyPatch):
    say(monkeypatch, SLURM)
    assert read_launch() == Launch(launcher="slurm", rank=5, local_rank=1, count=8, num_nodes=2)
    monkeypatch.delenv("SLURM_STEP_ID")
    assert read_launch() == Launch(launcher="none")


@pytest.mark.parametrize("name", ["SLURM_RESTART_COUNT", "TORCHELASTIC_RESTART_COUNT"])
def test_a_job_that_was_started_again_is_known(monkeypatch: pytest.MonkeyPatch, name: str):
    assert not restarted()
    for count, again in (("0", False), ("2", True)):
        monkeypatch.setenv(name, count)
        assert restarted() is again
    monkeypatch.setenv(name, "often")
    with pytest.raises(UserError, match=f"the environment says {name}='often'"):
        restarted()


def test_uneven_nodes_are_refused(monkeypatch: pytest.MonkeyPatch):
    say(monkeypatch, SLURM | {"SLURM_NTASKS": "7"})
    with pytest.raises(UserError, match="7 processes on 2 nodes; start the same number"):
        read_launch()


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"RANK": "one"}, "RANK='one'"),
        ({"RANK": "-1"}, "RANK='-1'"),
        ({"RANK": "4"}, "RANK='4'.* from 0 to 3"),
        ({"LOCAL_RANK": "2"}, "LOCAL_RANK='2'"),
        ({"WORLD_SIZE": ""}, "WORLD_SIZE=''"),
        ({"WORLD_SIZE": "9" * 50}, "WORLD_SIZE='9999"),
        ({"LOCAL_WORLD_SIZE": "0"}, "LOCAL_WORLD_SIZE='0'"),
        ({"MASTER_PORT": "http"}, "MASTER_PORT='http'"),
    ],
)
def test_variables_of_a_launcher_that_are_no_numbers(
    monkeypatch: pytest.MonkeyPatch, capsys, variables: dict[str, str], named: str
):
    place = {"RANK": "3", "LOCAL_RANK": "1", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2"}
    say(monkeypatch, place | variables)
    with pytest.raises(UserError, match=f"the environment says {named}"):
        read_launch()
    assert main(["list"]) == 2  # said by every process: which is the first cannot be known
    assert "the environment says" in capsys.readouterr().err


@pytest.mark.parametrize("name", [*SLURM, "SLURM_JOB_ID"])
def test_variables_of_slurm_that_are_no_numbers(monkeypatch: pytest.MonkeyPatch, name: str):
    say(monkeypatch, SLURM | {name: "many"})
    if name == "SLURM_STEP_ID":  # it only has to be there
        assert read_launch().rank == 5
        return
    with pytest.raises(UserError, match=f"the environment says {name}='many'"):
        read_launch()


def test_a_rank_alone_silences_nothing(monkeypatch: pytest.MonkeyPatch, capsys):
    say(monkeypatch, {"RANK": "1"})
    assert main(["no-such-verb"]) == 2
    assert "unknown verb" in capsys.readouterr().err


TINY = [
    *("--data.num-episodes", "12", "--data.image-size", "16", "--encoder.image-size", "16"),
    *("--predictor.depth", "1", "--predictor.visual-dim", "16", "--optim.batch-size", "8"),
    *("--loop.log-every", "1", "--loop.validate-every", "1000", "--device", "cpu"),
    *("--proposals.num-steps", "0"),
]


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, project_root: Path) -> None:
    path = [str(project_root / "src"), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, path)))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def test_below_one_is_refused():
    for count in (0, 1_000_000):
        with pytest.raises(UserError, match=rf"--processes {count}; give at least 1 and at most"):
            run_processes(count, [])


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
    assert messages.count("stopped; a checkpoint is written, continue with") == 1
    saved = read_record(tmp_path / "run" / "checkpoint").step
    assert json.loads(metrics.read_text().splitlines()[-1])["step"] == saved


def test_children_import_nothing_from_the_working_folder(tmp_path: Path):
    """A file of a received folder is not run in place of a library."""
    for name in ("rich", "torch", "filelock", "random", "tyro"):
        (tmp_path / f"{name}.py").write_text(f"open('{name}_ran', 'w'); raise SystemExit(9)")
    code = "from jepawm.launch import run_processes; print(run_processes(2, ['list', '--json']))"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert done.stdout.endswith("0\n"), done.stderr
    assert not list(tmp_path.glob("*_ran"))


def test_children_import_what_the_parent_imports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from jepawm.launch import _import_path

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["/elsewhere"])
    monkeypatch.setenv("PYTHONPATH", "/mine")
    assert _import_path() == {}
    monkeypatch.setattr(sys, "path", ["", "/elsewhere"])  # as `python -m jepawm` has it
    assert _import_path() == {"PYTHONPATH": os.pathsep.join([str(tmp_path), "/mine"])}


def start_evaluation(out: Path, **popen: object) -> subprocess.Popen[str]:
    """Start an evaluation in two processes that takes minutes."""
    argv = ["eval", "wall", "--processes", "2", "--tasks-per-batch", "1", "--device", "cpu"]
    argv += ["--planner", "cem", "--planner.num-samples", "2000", "--out", str(out)]
    return subprocess.Popen(
        [sys.executable, "-m", "jepawm", *argv], stderr=subprocess.PIPE, text=True, **popen
    )


def children_of(process: subprocess.Popen[str]) -> list[int]:
    """Return the ids of the two processes when both run."""
    while process.poll() is None:
        tasks = Path(f"/proc/{process.pid}/task").glob("*/children")
        found = [int(word) for file in tasks for word in file.read_text().split()]
        if len(found) == 2:
            return found
        time.sleep(0.05)
    pytest.fail("it ended before its processes were started")


def wait_until_gone(process_ids: list[int]) -> None:
    """Wait for the end of processes of others; the limit of the whole test ends the wait."""
    deadline = time.monotonic() + 60
    while any(is_running(one) for one in process_ids) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(is_running(one) for one in process_ids)


def is_running(process_id: int) -> bool:
    status = Path(f"/proc/{process_id}/stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z"


needs_proc = pytest.mark.skipif(
    not Path("/proc/self/task").is_dir(), reason="this system does not list children in /proc"
)


@needs_proc
def test_a_killed_child_is_named_and_the_other_ended(tmp_path: Path):
    process = start_evaluation(tmp_path / "out")
    children = children_of(process)
    time.sleep(1.0)
    os.kill(children[1], signal.SIGKILL)
    _, messages = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "process 1 of 2 was killed by signal 9 (SIGKILL)" in messages
    assert "fault of the program" not in messages
    wait_until_gone(children)
    assert not (tmp_path / "out" / "results.json").exists()


@needs_proc
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGHUP, signal.SIGTERM])
def test_children_end_with_their_parent(tmp_path: Path, number: signal.Signals):
    process = start_evaluation(tmp_path / "out")
    children = children_of(process)
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == (-number if number == signal.SIGKILL else 128 + number)
    wait_until_gone(children)


@needs_proc
def test_nohup_keeps_them(tmp_path: Path):
    ignored = {"preexec_fn": lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)}
    process = start_evaluation(tmp_path / "out", **ignored)
    children = children_of(process)
    process.send_signal(signal.SIGHUP)
    time.sleep(1.0)
    assert process.poll() is None
    assert all(is_running(child) for child in children)
    process.kill()
    process.communicate()
    wait_until_gone(children)
