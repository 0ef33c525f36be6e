"""Where workers run: children of this process, and what submitit starts."""

import os
import sys
import time
from pathlib import Path

import pytest

from jepawm.errors import UserError
from jepawm.study.executors import Resources, WorkerCommand, start_with

ONE = Resources(num_threads=1)


def test_a_worker_is_a_process_that_says_what_is_wrong(tmp_path: Path):
    start = start_with("processes", folder=tmp_path, resources=ONE)
    worker = start(tmp_path / "absent.json", tmp_path / "logs" / "a.log")
    while (code := worker.poll()) is None:
        time.sleep(0.05)
    assert code == 2
    assert "absent.json" in (tmp_path / "logs" / "a.log").read_text()


def test_a_worker_can_be_stopped(tmp_path: Path):
    start = start_with("processes", folder=tmp_path, resources=ONE)
    worker = start(tmp_path / "absent.json", tmp_path / "a.log")
    worker.stop()
    assert worker.poll() is not None


def test_submitit_runs_a_worker_alone_whatever_the_cluster_says(monkeypatch: pytest.MonkeyPatch):
    """A job of one task must not take itself for one of several processes."""
    for name in ("SLURM_PROCID", "SLURM_LOCALID", "SLURM_NTASKS", "SLURM_NNODES", "SLURM_STEP_ID"):
        monkeypatch.setitem(os.environ, name, "7")
    code = "import os, sys; sys.exit(int('SLURM_NTASKS' in os.environ) or int(os.environ['OMP_NUM_THREADS']))"
    assert WorkerCommand(argv=(sys.executable, "-c", code), num_threads=3)() == 3


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(UserError, match=r"--executor slurm needs submitit.*jepawm\[sweep\]"):
        start_with("slurm", folder=tmp_path, resources=ONE)


def test_slurm_needs_a_cluster(tmp_path: Path):
    pytest.importorskip("submitit")
    if any((Path(folder) / "srun").exists() for folder in os.environ["PATH"].split(os.pathsep)):
        pytest.skip("this is a machine of a cluster")
    with pytest.raises(UserError, match="is this a machine of the cluster"):
        start_with("slurm", folder=tmp_path, resources=ONE)
