"""What processes do together: sums with gradients, statistics of the whole batch, errors."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from jepawm.errors import UserError
from jepawm.processes import (
    any_process,
    from_first,
    gather,
    gather_shards,
    is_first,
    mean_over_processes,
    sum_over_processes,
    together,
)

WORKER = Path(__file__).with_name("processes_worker.py")


@pytest.fixture(scope="module")
def worker():
    """Return the worker as a module, to compute the same in one process."""
    description = importlib.util.spec_from_file_location("processes_worker", WORKER)
    assert description is not None
    assert description.loader is not None
    module = importlib.util.module_from_spec(description)
    description.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory, project_root: Path) -> list[dict[str, object]]:
    """Return what each of two processes found."""
    folder = tmp_path_factory.mktemp("found")
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    source = os.pathsep.join([str(project_root / "src"), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, *launcher, str(WORKER), str(folder)],
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": source},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[:3000]
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(2)]


@pytest.mark.parametrize("index", range(4), ids=["sigreg", "vicreg", "batch_norm", "position_norm"])
def test_statistics_and_gradients_are_those_of_the_whole_batch(worker, found, index: int):
    expected = worker.gradients(worker.latents())["gradients"][index]
    for process in found:
        torch.testing.assert_close(
            torch.tensor(process["gradients"][index]), torch.tensor(expected), rtol=2e-5, atol=2e-6
        )


def test_an_error_of_one_process_is_the_error_of_all(found):
    assert [process["message"] for process in found] == ["disk full in the second"] * 2


def test_all_learn_what_one_knows(found):
    for process in found:
        assert process["any"] == [True, False]
        assert process["first"] == "rank 0"
        assert process["gathered"] == [0, 1]


def test_words_do_not_go_through_an_accelerator(found):
    for process in found:
        assert process["beside"] == ["disk full in the second", [0, 1], 0, ["gloo"]]


def test_one_process_does_nothing():
    value = torch.ones(3)
    assert is_first()
    assert sum_over_processes(value) is value
    assert mean_over_processes({"a": torch.tensor(2.0)}) == {"a": torch.tensor(2.0)}
    assert [any_process(flag) for flag in (True, False)] == [True, False]
    assert from_first(lambda: 3) == 3
    assert gather(4) == [4]
    assert list(gather_shards([("a", value)])) == ["a"]
    with pytest.raises(UserError, match="mine"), together():
        raise UserError("mine")
