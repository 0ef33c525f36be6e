"""Curves in trackers are those of the file of metrics, also where a training was interrupted."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from jepawm.compute import matmul_peak
from jepawm.errors import UserError
from jepawm.experiment import Experiment
from jepawm.metrics_log import MetricsLog, read_metrics
from jepawm.runs.trackers import TRACKERS, Logged, TrackerName, open_trackers, require_trackers
from jepawm.runs.train import train_run

Curves = dict[str, dict[int, float]]


def curves_of(rows: list[dict[str, int | float]]) -> Curves:
    """Return what each key was at each step."""
    keys = {key for row in rows for key in row} - {"step"}
    return {key: {int(r["step"]): r[key] for r in rows if key in r} for key in keys}


def in_tensorboard(folder: Path) -> Curves:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = accumulator.EventAccumulator(str(folder), size_guidance={"tensors": 0})
    events.Reload()
    found = {
        key: {e.step: e.value for e in events.Scalars(key)} for key in events.Tags()["scalars"]
    }
    from tensorboard.util import tensor_util

    for key in events.Tags()["tensors"]:
        if "text_summary" not in key:
            values = {e.step: e.tensor_proto for e in events.Tensors(key)}
            found[key] = {k: tensor_util.make_ndarray(v).item() for k, v in values.items()}
    return found


def in_trackio(project: str, name: str) -> Curves:
    storage = pytest.importorskip("trackio.sqlite_storage")
    rows = storage.SQLiteStorage.get_logs(project, name)
    return curves_of([{k: v for k, v in row.items() if k != "timestamp"} for row in rows])


@pytest.fixture
def trackio_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep trackio's database, and what it knows of this process, in the test."""
    storage = pytest.importorskip("trackio.sqlite_storage")
    utils = pytest.importorskip("trackio.utils")
    home = tmp_path / "trackio"
    home.mkdir()
    for module in (storage, utils):
        monkeypatch.setattr(module, "TRACKIO_DIR", home)
    monkeypatch.setenv("TRACKIO_DIR", str(home))
    return home


def write(run: Path, steps: Iterator[int] | range, *, resumed: int, name: TrackerName) -> None:
    """Log rows of given steps, as a training does that goes on after `resumed` steps."""
    file = run / "metrics.jsonl"
    with open_trackers([name], Logged(file=file, step=resumed, config={"seed": 0})) as trackers:
        with MetricsLog(file) as log:
            log.truncate_after(resumed)
            for step in steps:
                metrics = {"train/loss": 1 / (step + 3), "train/grad_norm": step * 1e-7}
                if step % 4 == 0:
                    metrics["val/effective_rank"] = 1e6 + step
                log.append(step, metrics, seconds=step / 7)
                trackers.append(step, metrics, seconds=step / 7)


def read(run: Path, name: TrackerName) -> Curves:
    if name == "tensorboard":
        return in_tensorboard(run / "tensorboard" / "train")
    known = json.loads((run / TRACKERS).read_text())["metrics"]["name"]
    return in_trackio("jepawm", f"{run.name}-{known}")


@pytest.mark.parametrize("name", ["tensorboard", "trackio"])
def test_curves_equal_the_file_of_metrics_after_an_interruption(
    name: TrackerName, tmp_path: Path, request: pytest.FixtureRequest
):
    pytest.importorskip(name)
    if name == "trackio":
        request.getfixturevalue("trackio_home")
    run = tmp_path / "run"
    run.mkdir()
    write(run, range(2, 10, 2), resumed=0, name=name)  # the last checkpoint is of step 5
    write(run, range(6, 14, 2), resumed=5, name=name)
    expected = curves_of(read_metrics(run / "metrics.jsonl"))
    assert list(expected["train/loss"]) == [2, 4, 6, 8, 10, 12]
    assert read(run, name) == expected


@pytest.mark.parametrize("name", ["tensorboard", "trackio"])
def test_a_tracker_that_comes_later_gets_the_earlier_rows(
    name: TrackerName, tmp_path: Path, request: pytest.FixtureRequest
):
    pytest.importorskip(name)
    if name == "trackio":
        request.getfixturevalue("trackio_home")
    run = tmp_path / "run"
    run.mkdir()
    with MetricsLog(run / "metrics.jsonl") as log:
        for step in (2, 4, 6):
            log.append(step, {"train/loss": 0.5 / step}, seconds=float(step))
    write(run, range(6, 10, 2), resumed=5, name=name)
    assert read(run, name) == curves_of(read_metrics(run / "metrics.jsonl"))


@pytest.mark.slow
def test_wandb_writes_an_offline_run_and_goes_on_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    run = tmp_path / "run"
    run.mkdir()
    write(run, range(2, 10, 2), resumed=0, name="wandb")
    write(run, range(6, 14, 2), resumed=5, name="wandb")
    known = json.loads((run / TRACKERS).read_text())["metrics"]
    files = sorted((run / "wandb").glob(f"offline-run-*/run-{known['name']}.wandb"))
    assert len(files) == 2  # two parts of one run, as `wandb sync` wants them
    assert known["sent"] == 12
    content = b"".join(file.read_bytes() for file in files)
    assert b"val/effective_rank" in content


@pytest.mark.slow
def test_wandb_without_an_account_is_refused_before_work(tmp_path: Path):
    pytest.importorskip("wandb")
    own = {"HOME": str(tmp_path), "NETRC": str(tmp_path / "netrc"), "JEPAWM_DATA": str(tmp_path)}
    left = {k: v for k, v in os.environ.items() if not k.startswith("WANDB_")}
    done = subprocess.run(
        [sys.executable, "-m", "jepawm", "train", "wall", "--log", "wandb", "--out", "run"],
        cwd=tmp_path,
        env=left | own | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "--log wandb: No API key configured" in done.stderr
    assert "or set WANDB_MODE=offline, or train without it" in done.stderr
    assert "Traceback" not in done.stderr
    assert {path.name for path in (tmp_path / "run").iterdir()} == {"experiment.json"}


@pytest.mark.parametrize("name", ["wandb", "trackio", "tensorboard"])
def test_a_tracker_that_is_not_installed_is_named(
    name: TrackerName, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, name, None)  # as if it were not there
    with pytest.raises(UserError, match=rf"--log {name} needs {name}, .*'jepawm\[loggers\]'"):
        require_trackers([name])


def test_a_damaged_file_of_loggers_is_named(tmp_path: Path):
    for text in ("[]", "{", '{"metrics": {"name": "../x", "sent": 0}}', '{"metrics": 3}'):
        (tmp_path / TRACKERS).write_text(text)
        with pytest.raises(UserError, match=r"loggers\.json"):
            write(tmp_path, range(0), resumed=0, name="tensorboard")


def test_a_training_logs_to_tensorboard_and_without_it_nothing_changes(
    tiny_experiment: Experiment, wall_data_root: Path, tmp_path: Path, monkeypatch
):
    pytest.importorskip("tensorboard")
    monkeypatch.setattr("jepawm.runs.train.matmul_peak", partial(matmul_peak, size=64))
    short = replace(tiny_experiment, optim=replace(tiny_experiment.optim, num_steps=4))
    train = partial(train_run, short, data_root=wall_data_root, device="cpu", resume=False)
    train(out=tmp_path / "plain")
    train(out=tmp_path / "logged", trackers=["tensorboard"])
    names = {path.name for path in (tmp_path / "plain").iterdir()}
    assert names == {"experiment.json", "metrics.jsonl", "checkpoint"}
    rows = [read_metrics(tmp_path / run / "metrics.jsonl") for run in ("plain", "logged")]
    losses = [[row["train/loss"] for row in one] for one in rows]
    assert losses[0] == losses[1]
    found = in_tensorboard(tmp_path / "logged" / "tensorboard" / "train")
    assert found == curves_of(rows[1])
