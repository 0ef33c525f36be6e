"""The folder of a run: with which configurations it is gone on with."""

from dataclasses import replace
from pathlib import Path

import pytest

from jepawm.errors import UserError
from jepawm.runs.run_folder import open_run, write_experiment
from jepawm.training.devices import ComputeConfig


@pytest.fixture
def folder(tiny_experiment, tmp_path: Path) -> Path:
    write_experiment(tiny_experiment, tmp_path)
    (tmp_path / "metrics.jsonl").write_text("")
    return tmp_path


def test_how_a_step_is_shared_may_change(tiny_experiment, folder: Path):
    compute = ComputeConfig(strategy="fsdp2", activation_checkpointing=True, compile=True)
    changed = replace(tiny_experiment, compute=compute)
    assert open_run(changed, folder, resume=True, explicit=True) == changed
    assert open_run(changed, folder, resume=True, explicit=False) == tiny_experiment


@pytest.mark.parametrize("field", [{"accumulate": 2}, {"precision": "bfloat16"}])
def test_what_changes_the_numbers_may_not(tiny_experiment, folder: Path, field):
    changed = replace(tiny_experiment, compute=ComputeConfig(**field))
    with pytest.raises(UserError, match=rf"differs in compute\.{next(iter(field))}"):
        open_run(changed, folder, resume=True, explicit=True)
