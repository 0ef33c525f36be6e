"""A step that is not finite: back to the last checkpoint, and on without its batch."""

import logging
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

from jepawm.checkpoint import load_checkpoint, read_record
from jepawm.compute import matmul_peak
from jepawm.errors import UserError
from jepawm.experiment import Experiment
from jepawm.metrics_log import MetricsLog, read_metrics
from jepawm.runs.train import train_run
from jepawm.training.losses import Learner
from jepawm.training.optim import step_generator


@pytest.fixture(autouse=True)
def quick_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure the peak with small matrices."""
    monkeypatch.setattr("jepawm.runs.train.matmul_peak", partial(matmul_peak, size=64))


@pytest.fixture
def spoil(monkeypatch: pytest.MonkeyPatch):
    """Return a function that makes the loss of steps NaN, whenever they are taken."""

    def spoil(*steps: int) -> None:
        forward = Learner.forward
        seeds = {step_generator(0, step - 1).initial_seed() for step in steps}

        def spoiled(self, batch, *, generator):
            terms = forward(self, batch, generator=generator)
            broken = generator.initial_seed() in seeds
            return {**terms, "loss": terms["loss"] * (torch.nan if broken else 1)}

        monkeypatch.setattr(Learner, "forward", spoiled)

    return spoil


@pytest.fixture
def train_tiny(tiny_experiment: Experiment, wall_data_root: Path):
    """Return a function that trains the tiny experiment with some recoveries."""

    def train(out: Path, *, recoveries: int, resume: bool = False):
        loop = replace(tiny_experiment.loop, recoveries=recoveries)
        return train_run(
            replace(tiny_experiment, loop=loop),
            out=out,
            data_root=wall_data_root,
            device="cpu",
            resume=resume,
        )

    return train


def saved(run: Path) -> dict[str, torch.Tensor]:
    content = load_checkpoint(run / "checkpoint", with_training=True)
    assert content.training is not None
    return {k: v for k, v in {**content.tensors, **content.training}.items() if k != "seconds"}


def without_seconds(run: Path) -> list[dict[str, int | float]]:
    rows = read_metrics(run / "metrics.jsonl")
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


def test_training_goes_on_without_the_batch(train_tiny, spoil, tmp_path: Path, caplog):
    spoil(8)
    with caplog.at_level(logging.WARNING):
        assert train_tiny(tmp_path / "run", recoveries=1).steps == 12
    assert "the loss became nan at step 8" in caplog.text
    assert "(1 of loop.recoveries = 1)" in caplog.text
    rows = {row["step"]: row for row in read_metrics(tmp_path / "run" / "metrics.jsonl")}
    counts = {step: row["train/recoveries"] for step, row in rows.items()}
    assert counts == {2: 0, 4: 0, 6: 0, 8: 1, 10: 1, 12: 1}
    assert "train/loss" not in rows[8]  # nothing was learned there
    assert "train/loss" in rows[10]
    assert saved(tmp_path / "run")["left_out"].tolist() == [7]


def test_killed_after_it_and_resumed_equals_never_stopped(
    train_tiny, spoil, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Also where no checkpoint knows of it yet."""
    spoil(8)
    train_tiny(tmp_path / "whole", recoveries=1)
    append = MetricsLog.append

    def dying(self, step, metrics, *, seconds):
        if step == 8:  # reached in the second try alone
            raise KeyboardInterrupt
        append(self, step, metrics, seconds=seconds)

    with monkeypatch.context() as patch:
        patch.setattr(MetricsLog, "append", dying)
        with pytest.raises(KeyboardInterrupt):
            train_tiny(tmp_path / "parts", recoveries=1)
    assert read_record(tmp_path / "parts" / "checkpoint").step == 5
    train_tiny(tmp_path / "parts", recoveries=1, resume=True)
    whole, parts = saved(tmp_path / "whole"), saved(tmp_path / "parts")
    assert whole.keys() == parts.keys()
    assert [name for name in whole if not torch.equal(whole[name], parts[name])] == []
    assert without_seconds(tmp_path / "whole") == without_seconds(tmp_path / "parts")


def test_too_many_stop_the_training_and_more_may_be_allowed(train_tiny, spoil, tmp_path: Path):
    spoil(4, 9)
    run = tmp_path / "run"
    with pytest.raises(UserError, match=r"nan at step 9 .*loop\.recoveries = 1 batches are left"):
        train_tiny(run, recoveries=1)
    assert read_record(run / "checkpoint").step == 5
    assert train_tiny(run, recoveries=2, resume=True).steps == 12
    assert saved(run)["left_out"].tolist() == [3, 8]
