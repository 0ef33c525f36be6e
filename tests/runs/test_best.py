"""The checkpoint of the best validation stays beside the last one, and who loads a run is told."""

import logging
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

import jepawm.training.train
from jepawm.checkpoint import load_checkpoint, read_record
from jepawm.compute import matmul_peak
from jepawm.errors import UserError
from jepawm.experiment import Experiment
from jepawm.hub.load import load
from jepawm.metrics_log import read_metrics
from jepawm.runs.train import TrainedRun, train_run
from jepawm.training.train import LoopConfig, LoopHooks

KEY = "val/prediction_k1"


@pytest.fixture
def train_keeping(tiny_experiment: Experiment, wall_data_root: Path, monkeypatch):
    """Return a function that trains the tiny experiment and validates every second step."""
    monkeypatch.setattr("jepawm.runs.train.matmul_peak", partial(matmul_peak, size=64))

    def run(out: Path, *, resume: bool = False) -> TrainedRun:
        loop = replace(tiny_experiment.loop, validate_every=2, keep_best=KEY)
        return train_run(
            replace(tiny_experiment, loop=loop),
            out=out,
            data_root=wall_data_root,
            device="cpu",
            resume=resume,
        )

    return run


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let validation find its lowest error after step 4, and NaN after step 10."""
    validated = jepawm.training.train._validated
    values = {2: 3.0, 4: 1.0, 6: 2.0, 8: 1.0, 10: float("nan"), 12: 1.5}

    def dictated(state, windows, loop, devices):
        return {**validated(state, windows, loop, devices), KEY: values[state.step]}

    monkeypatch.setattr("jepawm.training.train._validated", dictated)


def test_the_lowest_error_is_kept_beside_the_last(train_keeping, tmp_path: Path):
    run = tmp_path / "run"
    done = train_keeping(run)
    errors = {row["step"]: row[KEY] for row in read_metrics(run / "metrics.jsonl")}
    assert done.best_step == read_record(run / "best").step == min(errors, key=errors.__getitem__)
    assert read_record(run / "checkpoint").step == 12


def test_who_loads_a_run_is_told_of_both(train_keeping, found, tmp_path: Path, caplog):
    run = tmp_path / "run"
    assert train_keeping(run).best_step == 4  # the first of two that are equal
    assert not (run / "best" / "training.safetensors").exists()
    with caplog.at_level(logging.INFO):
        assert load(run).step == 12
    assert "the last checkpoint, of step 12; the best in validation, of step 4, is" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.INFO):
        best = load(run / "best")
    assert best.step == 4
    assert "best in validation" not in caplog.text
    first, last = (load_checkpoint(run / name).tensors for name in ("best", "checkpoint"))
    name = "model.predictor.action_encoder.weight"
    assert torch.equal(best.model.state_dict()[name.removeprefix("model.")], first[name])
    assert not torch.equal(first[name], last[name])


def test_a_resumed_run_keeps_the_same(train_keeping, found, tmp_path: Path, monkeypatch):
    """It dies after step 8; its last checkpoint knows of the best at step 4."""
    train_keeping(tmp_path / "whole")
    original = LoopHooks.__init__

    def dying(self, *, log, **others):
        def dying_log(step, metrics):
            log(step, metrics)
            if step == 8:
                raise KeyboardInterrupt

        original(self, log=dying_log, **others)

    with monkeypatch.context() as patch:
        patch.setattr(LoopHooks, "__init__", dying)
        with pytest.raises(KeyboardInterrupt):
            train_keeping(tmp_path / "parts")
    train_keeping(tmp_path / "parts", resume=True)
    whole, parts = (load_checkpoint(tmp_path / name / "best") for name in ("whole", "parts"))
    assert read_record(tmp_path / "parts" / "best").step == 4
    assert all(torch.equal(value, parts.tensors[name]) for name, value in whole.tensors.items())


@pytest.mark.parametrize("name", ["val/effective_rank", "train/loss", "val/prediction_k0", "k1"])
def test_what_is_no_error_is_refused(name: str):
    with pytest.raises(UserError, match=r"loop\.keep_best = .* no error of validation"):
        LoopConfig(keep_best=name)


def test_what_no_validation_measures_is_refused(tiny_experiment: Experiment):
    with pytest.raises(UserError, match=r"it measures val/prediction, .*val/prediction_k3, val/r"):
        replace(tiny_experiment, loop=LoopConfig(keep_best="val/prediction_k4"))
    loss = replace(tiny_experiment.loss, rollout_steps=1)
    with pytest.raises(UserError, match="needs a validation that measures it"):
        replace(tiny_experiment, loss=loss, loop=LoopConfig(keep_best="val/rollout"))
    data = replace(tiny_experiment.data, train_fraction=1.0)
    with pytest.raises(UserError, match=r"there is no validation \(data\.train_fraction = 1\)"):
        replace(tiny_experiment, data=data, loop=LoopConfig(keep_best=KEY))
