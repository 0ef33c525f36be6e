"""Evaluation gives the same result whatever the number of processes, and fails with one message."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from jepawm.evaluation.results import MEASURED
from jepawm.runs import TaskRules, evaluate_run

TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]


def evaluate_in(
    arguments: list[str], run: Path, out: Path, *, options: list[str], project_root: Path
) -> subprocess.CompletedProcess[str]:
    source = os.pathsep.join([str(project_root / "src"), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [
            *(sys.executable, *arguments, "eval", str(run), "--out", str(out), "--device", "cpu"),
            *("--episodes", "5", "--tasks-per-batch", "2", "--seed", "5", "--json", *options),
        ],
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": source},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture(scope="module")
def alone(one_thread: None, tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the results of one process: five tasks in three batches."""
    out = tmp_path_factory.mktemp("alone")
    evaluate_run(
        str(tiny_run),
        TaskRules(protocol="mpc", num_tasks=5, seed=5, tasks_per_batch=2),
        out=out,
    )
    return out


def results_of(folder: Path) -> str:
    """Return the text of results.json without what was measured by a clock."""
    results = json.loads((folder / "results.json").read_text())
    return json.dumps({key: value for key, value in results.items() if key not in MEASURED})


@pytest.mark.parametrize(
    ("arguments", "options"),
    [([*TORCHRUN, "2", "-m", "jepawm"], []), (["-m", "jepawm"], ["--processes", "3"])],
    ids=["torchrun", "processes"],
)
def test_results_do_not_depend_on_the_number_of_processes(
    alone: Path,
    tiny_run: Path,
    tmp_path: Path,
    project_root: Path,
    arguments: list[str],
    options: list[str],
):
    options = [*options, "--protocol", "mpc"]
    done = evaluate_in(arguments, tiny_run, tmp_path, options=options, project_root=project_root)
    assert done.returncode == 0, done.stderr
    assert results_of(tmp_path) == results_of(alone)
    assert json.loads(done.stdout)["success"] == json.loads(results_of(alone))["success"]
    with np.load(tmp_path / "rollouts.npz") as found, np.load(alone / "rollouts.npz") as wanted:
        for name in wanted.files:
            np.testing.assert_array_equal(found[name], wanted[name])


def test_an_error_in_all_processes_is_told_once(tiny_run: Path, tmp_path: Path, project_root: Path):
    done = evaluate_in(
        ["-m", "jepawm"],
        tiny_run,
        tmp_path,
        options=["--processes", "2", "--protocol", "magic"],
        project_root=project_root,
    )
    assert done.returncode == 2
    assert done.stderr == "jepawm: unknown protocol 'magic' (known: mpc, paper)\n"
    assert json.loads(done.stdout) == {"error": "unknown protocol 'magic' (known: mpc, paper)"}
