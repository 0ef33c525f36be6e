"""Two processes train as one does, and go on where one has stopped."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from jepawm.checkpoint import load_checkpoint, read_record
from jepawm.compute import matmul_peak
from jepawm.errors import UserError
from jepawm.experiment import Experiment, experiment_to_json
from jepawm.metrics_log import read_metrics
from jepawm.runs.train import train_run
from jepawm.training.devices import ComputeConfig

WORKER = Path(__file__).with_name("train_worker.py")
NAMES = ("sigreg", "vicreg", "encoder_steps")
KINDS = [(name, strategy) for name in NAMES for strategy in ("ddp", "fsdp2")]
TOLERANCE = {"sigreg": 1e-4, "vicreg": 2e-2, "encoder_steps": 1e-4}
"""Relative. With batch norm (VICReg here) some gradients are zero but for rounding, and Adam makes
steps of full length of them."""


@pytest.fixture(scope="module")
def experiment(tiny_experiment: Experiment) -> Experiment:
    """Return the experiment that all train: 20 steps of 16 windows."""
    return replace(
        tiny_experiment,
        optim=replace(tiny_experiment.optim, num_steps=20),
        loop=replace(tiny_experiment.loop, log_every=1, validate_every=10),
    )


def regularized(experiment: Experiment, name: str) -> Experiment:
    if name == "encoder_steps":  # SIGReg, and after 12 steps the encoder stays as it is
        optim = replace(experiment.optim, encoder_steps=12, ema_decay=0.7)
        return replace(regularized(experiment, "sigreg"), optim=optim)
    return replace(
        experiment,
        encoder=replace(experiment.encoder, batch_norm=name == "vicreg"),
        loss=replace(experiment.loss, regularizer=name, num_directions=32),
    )


def spec(
    experiment: Experiment,
    out: Path,
    *,
    data_root: Path,
    resume: bool = False,
    stop_at: int | None = None,
    spoiled: int | None = None,
) -> dict[str, object]:
    return {
        "experiment": experiment_to_json(experiment),
        "out": str(out),
        "data_root": str(data_root),
        "resume": resume,
        "stop_at": stop_at,
        "spoiled": spoiled,
    }


def recovering(experiment: Experiment) -> Experiment:
    chosen = regularized(experiment, "sigreg")
    return replace(
        chosen,
        optim=replace(chosen.optim, num_steps=7),
        loop=replace(chosen.loop, save_every=3, recoveries=1),
    )


def train_in_two(runs: list[dict[str, object]], folder: Path, *, project_root: Path) -> None:
    path = folder / "runs.json"
    path.write_text(json.dumps(runs))
    source = os.pathsep.join([str(project_root / "src"), os.environ.get("PYTHONPATH", "")])
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [sys.executable, *launcher, str(WORKER), str(path)],
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": source},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[:3000]


@pytest.fixture(scope="module")
def curves(
    experiment: Experiment,
    wall_data_root: Path,
    tmp_path_factory: pytest.TempPathFactory,
    project_root: Path,
) -> Path:
    """Return a folder of runs: `<regularizer>-one`, `-ddp`, `-fsdp2`, one that was told to stop at step 7,
    and one whose step 6 is not finite in the second process."""
    folder = tmp_path_factory.mktemp("curves")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jepawm.runs.train.matmul_peak", partial(matmul_peak, size=64))
        for name in NAMES:
            train_run(
                regularized(experiment, name),
                out=folder / f"{name}-one",
                data_root=wall_data_root,
                device="cpu",
                resume=False,
            )
    runs = [
        spec(
            replace(regularized(experiment, name), compute=ComputeConfig(strategy=strategy)),
            folder / f"{name}-{strategy}",
            data_root=wall_data_root,
        )
        for name, strategy in KINDS
    ]
    parts = ComputeConfig(accumulate=2, accumulate_statistics="batch")
    cut = replace(regularized(experiment, "vicreg"), compute=parts)
    runs.append(spec(cut, folder / "vicreg-parts", data_root=wall_data_root))
    stopped = regularized(experiment, "sigreg")
    runs.append(
        spec(recovering(experiment), folder / "spoiled", data_root=wall_data_root, spoiled=6)
    )
    runs.append(spec(stopped, folder / "stopped", data_root=wall_data_root, stop_at=6))
    train_in_two(runs, folder, project_root=project_root)
    return folder


def assert_same_curve(found: Path, wanted: Path, *, tolerance: float) -> None:
    rows, expected = (read_metrics(run / "metrics.jsonl") for run in (found, wanted))
    assert [row["step"] for row in rows] == [row["step"] for row in expected] == [*range(1, 21)]
    for row, other in zip(rows, expected, strict=True):
        for key in (key for key in other if key.startswith("train/")):
            assert row[key] == pytest.approx(other[key], rel=tolerance), (key, row["step"])


@pytest.mark.parametrize(("name", "strategy"), KINDS)
def test_two_processes_have_the_curve_of_one(curves: Path, name: str, strategy: str):
    assert_same_curve(
        curves / f"{name}-{strategy}", curves / f"{name}-one", tolerance=TOLERANCE[name]
    )


def test_parts_in_two_processes_have_the_curve_of_a_whole_batch_in_one(curves: Path):
    """Batch norm and VICReg see the 16 windows together, of which each pass has 4."""
    assert_same_curve(curves / "vicreg-parts", curves / "vicreg-one", tolerance=TOLERANCE["vicreg"])


@pytest.mark.parametrize("strategy", ["ddp", "fsdp2"])
def test_averages_of_two_processes_are_those_of_one(curves: Path, strategy: str):
    found, wanted = (
        read_metrics(curves / f"encoder_steps-{name}" / "metrics.jsonl")
        for name in (strategy, "one")
    )
    for row, other in zip(found, wanted, strict=True):
        for key in (key for key in other if key.startswith("val/prediction")):
            assert row[key] == pytest.approx(other[key], rel=1e-3), (key, row["step"])


def test_checkpoints_hold_whole_tensors(curves: Path):
    one, sharded = (
        load_checkpoint(curves / run / "checkpoint", with_training=True)
        for run in ("encoder_steps-one", "encoder_steps-fsdp2")
    )
    assert one.training is not None
    assert sharded.training is not None
    for wanted, found in ((one.tensors, sharded.tensors), (one.training, sharded.training)):
        assert {k: v.shape for k, v in wanted.items()} == {k: v.shape for k, v in found.items()}


def test_a_signal_to_one_process_stops_all_after_the_same_step(curves: Path):
    stopped = curves / "stopped"
    assert read_record(stopped / "checkpoint").step == 10  # all are asked every fifth step
    assert "stopped; a checkpoint is written, continue with" in (stopped / "error.txt").read_text()


def test_all_processes_go_back_and_leave_out_the_same_batch(curves: Path):
    rows = read_metrics(curves / "spoiled" / "metrics.jsonl")
    assert [row["train/recoveries"] for row in rows] == [0, 0, 0, 0, 0, 1, 1]
    assert [("train/loss" in row) for row in rows] == [True] * 5 + [False, True]
    training = load_checkpoint(curves / "spoiled" / "checkpoint", with_training=True).training
    assert training is not None
    assert training["left_out"].tolist() == [5]


def test_saved_by_two_resumed_by_one_and_back(
    curves: Path,
    experiment: Experiment,
    wall_data_root: Path,
    tmp_path: Path,
    project_root: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    import jepawm.training.train

    out, chosen = curves / "stopped", regularized(experiment, "sigreg")
    original = jepawm.training.train.set_schedule

    def signalling(optimizer, config, *, step):
        if step == 13:
            os.kill(os.getpid(), signal.SIGTERM)
        original(optimizer, config, step=step)

    monkeypatch.setattr("jepawm.training.train.set_schedule", signalling)
    with pytest.raises(UserError, match="continue with"):
        train_run(chosen, out=out, data_root=wall_data_root, device="cpu", resume=True)
    assert read_record(out / "checkpoint").step == 14
    sharded = replace(chosen, compute=ComputeConfig(strategy="fsdp2"))
    last = spec(sharded, out, data_root=wall_data_root, resume=True)
    train_in_two([last], tmp_path, project_root=project_root)
    assert_same_curve(out, curves / "sigreg-one", tolerance=TOLERANCE["sigreg"])
