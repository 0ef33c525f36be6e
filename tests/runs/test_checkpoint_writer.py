"""Checkpoints are written beside the training: one at a time, of the moment that was asked for."""

import logging
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from jepawm.checkpoint import load_checkpoint, read_record
from jepawm.errors import UserError
from jepawm.runs.checkpoint_writer import CheckpointWriter
from jepawm.runs.datasets import find_or_collect
from jepawm.runs.train import train_run
from jepawm.runs.train_state import build_state, prepare_save
from jepawm.training.devices import ComputeConfig, Devices
from jepawm.training.train import LoopConfig


def fail() -> None:
    raise UserError("the disk is full")


def test_the_training_goes_on_while_one_is_written():
    go, done = threading.Event(), []
    with CheckpointWriter() as writer:
        writer.write(lambda: done.append(go.wait(60)))
        assert done == []  # it has not ended, and nobody waits
        go.set()
        writer.write(lambda: done.append("second"))
        assert done[0] is True  # one at a time
    assert done == [True, "second"]


def test_an_error_is_told_where_the_next_one_is_asked_for():
    with CheckpointWriter() as writer:
        writer.write(fail)
        with pytest.raises(UserError, match="disk is full"):
            writer.write(lambda: None)
    with pytest.raises(UserError, match="disk is full"), CheckpointWriter() as writer:
        writer.write(fail)


def test_another_error_comes_first(caplog: pytest.LogCaptureFixture):
    def train() -> None:
        with CheckpointWriter() as writer:
            writer.write(fail)
            raise UserError("the loss became nan")

    with caplog.at_level(logging.WARNING), pytest.raises(UserError, match="the loss"):
        train()
    assert "disk is full" in caplog.text


def test_what_is_written_is_the_state_of_that_moment(
    tiny_experiment, wall_data_root: Path, tmp_path: Path
):
    store = find_or_collect("wall", tiny_experiment.data, data_root=wall_data_root)
    devices = Devices(ComputeConfig(), device="cpu")
    state = build_state(tiny_experiment, store, out=tmp_path / "run", devices=devices)
    before = {name: value.clone() for name, value in state.learner.model.state_dict().items()}
    write = prepare_save(state, tiny_experiment, store=store, out=tmp_path / "run")
    assert write is not None
    with torch.no_grad():
        for parameter in state.learner.parameters():
            parameter.add_(1.0)
    state.step = 7
    write()
    saved = load_checkpoint(tmp_path / "run" / "checkpoint").tensors
    for name, value in saved.items():
        assert torch.equal(value, before[name.removeprefix("model.")]), name
    assert read_record(tmp_path / "run" / "checkpoint").step == 0


def test_only_the_newest_of_those_that_stay_are_kept(
    tiny_experiment, wall_data_root: Path, tmp_path: Path
):
    loop = replace(tiny_experiment.loop, save_every=2, keep_every=2, keep_last=2)
    train_run(
        replace(tiny_experiment, loop=loop),
        out=tmp_path / "run",
        data_root=wall_data_root,
        device="cpu",
        resume=False,
    )
    names = sorted(folder.name for folder in (tmp_path / "run" / "checkpoints").iterdir())
    assert names == ["step-0000010", "step-0000012"]


@pytest.mark.parametrize(("keep_every", "keep_last"), [(None, 2), (200, 0)])
def test_keeping_some_of_none_is_refused(keep_every, keep_last):
    with pytest.raises(UserError, match=r"loop\.keep_last"):
        LoopConfig(keep_every=keep_every, keep_last=keep_last)
