"""A training run: its folder, what it refuses, and that going on equals never stopping."""

import json
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

from jepawm.build import build_model
from jepawm.checkpoint import load_checkpoint, read_record
from jepawm.compute import matmul_peak
from jepawm.data.writer import EpisodeWriter
from jepawm.errors import UserError
from jepawm.experiment import Experiment, experiment_from_json
from jepawm.files import taken
from jepawm.hub.load import load
from jepawm.metrics_log import METRICS, find_metric, read_metrics
from jepawm.runs.datasets import find_or_collect
from jepawm.runs.run_folder import TRAINING, export_run
from jepawm.runs.train import train_run
from jepawm.runs.train_state import start_model_from
from jepawm.training.train import LoopHooks


@pytest.fixture(autouse=True)
def quick_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure the peak with small matrices."""
    monkeypatch.setattr("jepawm.runs.train.matmul_peak", partial(matmul_peak, size=64))


@pytest.fixture
def train_tiny(tiny_experiment: Experiment, wall_data_root: Path):
    """Return a function that trains the tiny experiment, changed by keywords."""

    def train(out: Path, *, resume: bool = False, explicit: bool = True, **changes):
        return train_run(
            replace(tiny_experiment, **changes),
            out=out,
            data_root=wall_data_root,
            device="cpu",
            resume=resume,
            explicit=explicit,
        )

    return train


@pytest.fixture
def stopped_run(train_tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a run that died at step 8; its last checkpoint is of step 5, its last row of 8."""

    class Killed(BaseException):
        pass

    def dying(log, step: int) -> None:
        if step > 8:
            raise Killed

    original = LoopHooks.__init__

    def init(self, *, log, **others):
        def dying_log(step, metrics):
            dying(log, step)
            log(step, metrics)

        original(self, log=dying_log, **others)

    monkeypatch.setattr(LoopHooks, "__init__", init)
    with pytest.raises(Killed):
        train_tiny(tmp_path / "stopped")
    monkeypatch.undo()
    return tmp_path / "stopped"


def test_a_run_writes_experiment_metrics_and_checkpoint(
    tiny_run: Path, tiny_experiment: Experiment
):
    assert {path.name for path in tiny_run.iterdir()} == {
        "experiment.json",
        "metrics.jsonl",
        "checkpoint",
    }
    record = json.loads((tiny_run / "experiment.json").read_text())
    assert (record["recipe"], record["seed"]) == ("tiny", 0)
    assert record["versions"].keys() >= {"python", "torch", "jepawm"}
    assert experiment_from_json(record["experiment"], source="x") == tiny_experiment
    rows = read_metrics(tiny_run / "metrics.jsonl")
    assert [row["step"] for row in rows] == [2, 4, 6, 8, 10, 12]
    assert {"train/loss", "val/prediction_k3", "val/effective_rank"} <= rows[-1].keys()
    seconds = [row["seconds"] for row in rows]
    assert seconds == sorted(seconds)
    load_checkpoint(tiny_run / "checkpoint", with_training=True)
    record = read_record(tiny_run / "checkpoint")
    assert (record.step, record.action_dim, record.proprio_dim) == (12, 2, 2)


def test_training_logs_what_the_table_of_metrics_describes(
    tiny_run, tiny_experiment, train_tiny, tmp_path: Path
):
    """Every logged key is described, and every described one is logged by some setting."""
    terms = {"regularizer": "sigreg", "temporal_weight": 0.1, "step_distance_weight": 0.1}
    loop = replace(tiny_experiment.loop, recoveries=1)
    train_tiny(tmp_path / "run", loss=replace(tiny_experiment.loss, **terms), loop=loop)
    rows = [
        *read_metrics(tiny_run / "metrics.jsonl"),
        *read_metrics(tmp_path / "run" / "metrics.jsonl"),
    ]
    logged = {key for row in rows for key in row} - {"step", "seconds"}
    found = {key: find_metric(key) for key in logged}
    assert [key for key, metric in found.items() if metric is None] == []
    assert {metric.key for metric in METRICS} == {one.key for one in found.values() if one}


def test_a_run_returns_what_it_cost(train_tiny, tmp_path: Path):
    result = train_tiny(tmp_path / "run")
    assert result.steps == 12
    assert result.run == tmp_path / "run"
    for key in ("gflop_per_step", "gflops_per_second", "matmul_peak_gflops", "wall_seconds"):
        assert isinstance(getattr(result, key), float)
        assert getattr(result, key) > 0
    assert result.fraction_of_peak > 0
    assert result.probe_error < 60  # pixels


def test_the_same_seed_gives_the_same_parameters(train_tiny, tiny_run: Path, tmp_path: Path):
    train_tiny(tmp_path / "again")
    train_tiny(tmp_path / "other", seed=1)
    first, again, other = (
        load_checkpoint(run / "checkpoint").tensors
        for run in (tiny_run, tmp_path / "again", tmp_path / "other")
    )
    assert first.keys() == again.keys()
    assert all(torch.equal(value, again[name]) for name, value in first.items())
    assert not all(torch.equal(value, other[name]) for name, value in first.items())


def test_a_resumed_run_equals_an_uninterrupted_one(train_tiny, stopped_run: Path, tiny_run: Path):
    load_checkpoint(stopped_run / "checkpoint", with_training=True)
    assert read_record(stopped_run / "checkpoint").step == 5
    train_tiny(stopped_run, resume=True)
    expected = load_checkpoint(tiny_run / "checkpoint", with_training=True)
    found = load_checkpoint(stopped_run / "checkpoint", with_training=True)
    for part in ("tensors", "training"):
        wanted, got = getattr(expected, part), getattr(found, part)
        assert wanted.keys() == got.keys()
        differing = [name for name in wanted if not torch.equal(wanted[name], got[name])]
        assert set(differing) <= {"seconds"}
    rows = read_metrics(stopped_run / "metrics.jsonl")
    uninterrupted = read_metrics(tiny_run / "metrics.jsonl")
    for row in (*rows, *uninterrupted):
        del row["seconds"]
    assert rows == uninterrupted


def test_resuming_keeps_the_configuration_of_the_run(train_tiny, stopped_run: Path):
    changed = {"seed": 3}
    with pytest.raises(UserError, match=r"another configuration \(differs in seed\)"):
        train_tiny(stopped_run, resume=True, **changed)
    assert train_tiny(stopped_run, resume=True, explicit=False, **changed).steps == 12
    assert json.loads((stopped_run / "experiment.json").read_text())["seed"] == 0


def test_resuming_a_finished_run_changes_nothing(train_tiny, tiny_run: Path, tmp_path: Path):
    copy = tmp_path / "copy"
    shutil.copytree(tiny_run, copy)
    assert train_tiny(copy, resume=True).steps == 12
    before = load_checkpoint(tiny_run / "checkpoint").tensors
    after = load_checkpoint(copy / "checkpoint").tensors
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert (copy / "metrics.jsonl").read_text() == (tiny_run / "metrics.jsonl").read_text()


@pytest.mark.parametrize("leftover", [None, "experiment.json.partial"])
def test_resuming_before_anything_was_saved_starts_at_step_0(
    train_tiny, tmp_path: Path, leftover: str | None
):
    out = tmp_path / "run"
    if leftover is not None:  # killed while the first file was written
        out.mkdir()
        (out / leftover).write_text("{")
    assert train_tiny(out, resume=True).steps == 12


def test_a_folder_that_another_training_holds_is_refused(
    train_tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Also while data are collected, when nothing but `experiment.json` is there yet."""
    monkeypatch.setattr("jepawm.files._PATIENCE_SECONDS", 0.1)
    out = tmp_path / "run"
    with taken(out, by=TRAINING):
        for resume in (False, True):
            with pytest.raises(UserError, match="another training is writing into"):
                train_tiny(out, resume=resume)
        (out / "experiment.json.partial-01234567").touch()  # and what a kill left is no obstacle
    assert train_tiny(out).steps == 12
    assert {path.name for path in out.iterdir()} == {
        *("checkpoint", "experiment.json", "metrics.jsonl")
    }


def test_a_folder_that_holds_files_is_refused(train_tiny, tiny_run: Path, tmp_path: Path):
    before = (tiny_run / "metrics.jsonl").read_bytes()
    with pytest.raises(UserError, match="already holds files; choose another --out, or --resume"):
        train_tiny(tiny_run)
    assert (tiny_run / "metrics.jsonl").read_bytes() == before
    file = tmp_path / "file"
    file.write_text("mine")
    with pytest.raises(UserError, match="is not a folder; choose another --out"):
        train_tiny(file)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "is not a run to resume, choose another --out"),
        ("{", "cannot read .*is not a run to resume"),
        ("[]", "is not a configuration of this version"),
        ("{}", "is not a configuration of this version"),
    ],
)
def test_what_is_no_run_is_not_resumed(train_tiny, tmp_path: Path, content, message: str):
    (tmp_path / "notes.txt").write_text("mine")
    if content is not None:
        (tmp_path / "experiment.json").write_text(content)
    with pytest.raises(UserError, match=message):
        train_tiny(tmp_path, resume=True)


def test_a_loss_that_becomes_nan_keeps_the_last_good_checkpoint(
    train_tiny, tiny_experiment: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from jepawm.training.losses import Learner

    forward, calls = Learner.forward, []

    def spoiled(self, batch, *, generator):
        calls.append(1)
        terms = forward(self, batch, generator=generator)
        return {**terms, "loss": terms["loss"] * (torch.nan if len(calls) == 9 else 1)}

    monkeypatch.setattr(Learner, "forward", spoiled)
    with pytest.raises(UserError, match="the loss became nan at step 9"):
        train_tiny(tmp_path / "run")
    assert read_record(tmp_path / "run" / "checkpoint").step == 5
    assert len(read_metrics(tmp_path / "run" / "metrics.jsonl")) == 4


def test_a_window_longer_than_the_episodes_is_refused(tiny_experiment: Experiment, tmp_path: Path):
    """The store says less than its name; what counts is what it holds."""
    import numpy as np

    name = "wall-12x30-16px-seed0"
    with EpisodeWriter(tmp_path / name, environment="wall", image_size=16, settings={}) as writer:
        for _ in range(12):
            writer.append(
                np.zeros((9, 3, 16, 16), np.uint8),
                np.zeros((8, 2), np.float32),
                proprio=np.zeros((9, 2), np.float32),
                state=np.zeros((9, 2)),
            )
    with pytest.raises(UserError, match="16 frames"):
        train_run(
            tiny_experiment, out=tmp_path / "run", data_root=tmp_path, device="cpu", resume=False
        )
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["experiment.json"]
    shorter = replace(
        tiny_experiment,
        data=replace(tiny_experiment.data, num_steps=1),
        loss=replace(tiny_experiment.loss, rollout_steps=1),
    )  # a folder where nothing was trained yet is free for a mended configuration
    train_run(shorter, out=tmp_path / "run", data_root=tmp_path, device="cpu", resume=False)
    assert (tmp_path / "run" / "checkpoint").is_dir()


def test_an_exported_checkpoint_is_small_and_loads(tiny_run: Path, tmp_path: Path):
    for _ in range(2):
        export_run(tiny_run, tmp_path / "small")
    names = {path.name for path in (tmp_path / "small").iterdir()}
    assert names == {
        "config.json",
        "experiment.json",
        "metrics.jsonl",
        "model.safetensors",
    }
    pixels = torch.zeros(1, 3, 16, 16, dtype=torch.uint8)
    whole, small = load(tiny_run), load(tmp_path / "small")
    assert torch.equal(whole.model.encoder(pixels), small.model.encoder(pixels))


def test_a_run_does_not_go_on_with_other_data(
    train_tiny, stopped_run: Path, tiny_experiment: Experiment, tmp_path: Path
):
    other = replace(tiny_experiment.data, seed=9)
    made = find_or_collect(tiny_experiment.env, other, data_root=tmp_path)
    made.path.rename(tmp_path / "wall-12x30-16px-seed0")
    before = (stopped_run / "checkpoint" / "config.json").read_bytes()
    with pytest.raises(UserError, match="was trained on other data than"):
        train_run(tiny_experiment, out=stopped_run, data_root=tmp_path, device="cpu", resume=True)
    assert (stopped_run / "checkpoint" / "config.json").read_bytes() == before


@pytest.mark.parametrize(
    ("part", "change"), [("optim", {"learning_rate": 0.5}), ("predictor", {"window": 1})]
)
def test_a_run_does_not_go_on_with_an_edited_configuration(
    train_tiny, stopped_run: Path, part: str, change: dict[str, object]
):
    path = stopped_run / "experiment.json"
    content = json.loads(path.read_text())
    content["experiment"][part] |= change
    content["experiment"]["agent"]["window"] = 1
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=rf"experiment\.json says now .*{part}\."):
        train_tiny(stopped_run, resume=True, explicit=False)


def test_a_run_goes_on_where_its_store_has_moved(
    train_tiny, stopped_run: Path, tiny_experiment: Experiment, wall_data_root: Path, tmp_path: Path
):
    """The place of the data may be edited: what lies there is compared by its hash."""
    shutil.copytree(wall_data_root / "wall-12x30-16px-seed0", tmp_path / "moved")
    path = stopped_run / "experiment.json"
    content = json.loads(path.read_text())
    content["experiment"]["data"]["store"] = str(tmp_path / "moved")
    path.write_text(json.dumps(content))
    assert train_tiny(stopped_run, resume=True, explicit=False).steps == 12


def test_a_model_acts_in_pictures_of_the_size_of_its_store(
    tiny_experiment: Experiment, wall_data_root: Path, tmp_path: Path
):
    """A store that is named may have frames of another size than `data.image_size` says."""
    find_or_collect(tiny_experiment.env, tiny_experiment.data, data_root=wall_data_root)
    store = str(wall_data_root / "wall-12x30-16px-seed0")
    data = replace(tiny_experiment.data, store=store, image_size=32)
    train_run(
        replace(tiny_experiment, data=data),
        out=tmp_path / "run",
        data_root=tmp_path,
        device="cpu",
        resume=False,
    )
    loaded = load(tmp_path / "run")
    assert loaded.image_size == 16
    env, agent = loaded.make_env(), loaded.agent()
    obs = env.reset(env.sample_tasks(0, num_tasks=1))
    agent.reset(env.goal_observation())
    assert agent.act(obs).shape == (1, 10)


def test_a_run_of_an_earlier_version_goes_on(train_tiny, stopped_run: Path):
    path = stopped_run / "checkpoint" / "config.json"
    config = json.loads(path.read_text())
    del config["seal"], config["data"]
    path.write_text(json.dumps(config))
    assert train_tiny(stopped_run, resume=True).steps == 12
    assert {"seal", "data"} <= json.loads(path.read_text()).keys()


def test_training_starts_from_the_weights_of_another_run(
    train_tiny, tiny_run: Path, tiny_experiment: Experiment, tmp_path: Path
):
    before = load(tiny_run).model.state_dict()
    optim = replace(tiny_experiment.optim, num_steps=1, encoder_steps=0)
    train_tiny(tmp_path / "run", init_from=str(tiny_run), optim=optim)
    after = load(tmp_path / "run").model.state_dict()
    same = {name for name in before if torch.equal(before[name], after[name])}
    assert {name for name in before if name.startswith("encoder.")} <= same  # it never learned
    far = max(float((before[name] - after[name]).abs().max()) for name in before.keys() - same)
    assert 0 < far < 0.1  # one step away; random weights are far
    resumed = train_tiny(tmp_path / "run", resume=True, explicit=False)
    assert resumed.steps == 1


def test_layers_of_other_widths_start_anew(
    tiny_experiment: Experiment, tiny_run: Path, caplog: pytest.LogCaptureFixture
):
    model = build_model(tiny_experiment, action_dim=3, proprio_dim=0)
    new = model.state_dict()["predictor.action_encoder.weight"].clone()
    start_model_from(model, str(tiny_run))
    mine, theirs = model.state_dict(), load(tiny_run).model.state_dict()
    assert torch.equal(mine["predictor.action_encoder.weight"], new)
    others = [name for name in mine if not name.startswith("predictor.action_encoder")]
    assert all(torch.equal(mine[name], theirs[name]) for name in others)
    assert "predictor.action_encoder.weight" in caplog.text


def test_weights_of_another_architecture_are_refused(tiny_experiment: Experiment, tiny_run: Path):
    deeper = replace(
        tiny_experiment,
        predictor=replace(tiny_experiment.predictor, depth=tiny_experiment.predictor.depth + 1),
    )
    with pytest.raises(UserError, match=r"predictor\.blocks"):
        start_model_from(build_model(deeper, action_dim=2, proprio_dim=0), str(tiny_run))
