"""`jepawm pretrain`, and recipes on what it wrote: frozen, and as a start."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from jepawm.checkpoint import load_checkpoint
from jepawm.cli import main
from jepawm.errors import UserError
from jepawm.hub.load import load
from jepawm.metrics_log import read_metrics
from jepawm.models.encoders import EncoderConfig
from jepawm.models.frozen.encoder import FrozenEncoder, SmallViTConfig
from jepawm.models.frozen.weights import load_frozen_encoder
from jepawm.runs import pretrain_run
from jepawm.runs.datasets import find_or_collect
from jepawm.runs.pretrain import LOG, probe_error
from jepawm.runs.train import train_run
from jepawm.training.losses import LossConfig
from jepawm.training.optim import OptimConfig
from jepawm.training.pretraining.settings import ViTConfig, VJepaConfig

CONFIG = VJepaConfig(
    vit=ViTConfig(image_size=16, patch_size=4),
    num_frames=2,
    frameskip=2,
    depth=1,
    width=8,
    optim=OptimConfig(num_steps=3, batch_size=4, warmup_steps=1),
)


@pytest.fixture(scope="module")
def store_path(tiny_experiment, wall_data_root) -> Path:
    return find_or_collect("wall", tiny_experiment.data, data_root=wall_data_root).path


@pytest.fixture(scope="module")
def pretrained(store_path: Path, tmp_path_factory) -> Path:
    """Return the folder of a pretraining of three steps; tests must not write into it."""
    out = tmp_path_factory.mktemp("pretrained") / "vit"
    done = pretrain_run(store_path, CONFIG, out=out, device="cpu")
    assert (done.method, done.steps, done.folder) == ("vjepa", 3, out)
    assert done.loss > 0
    assert 0 < done.probe_error < 40  # pixels of a world of 65
    assert 0 < done.random_probe_error < 40
    return out


def test_the_folder_holds_the_average_and_how_it_was_made(pretrained: Path):
    saved = load_checkpoint(pretrained / "checkpoint")
    assert (saved.record.method, saved.record.step, saved.record.patch_size) == ("vjepa", 3, 4)
    assert saved.record.config["optim"]["num_steps"] == 3
    assert {"patches.weight", "norm.bias"} <= saved.tensors.keys()
    assert read_metrics(pretrained / LOG)[-1]["step"] == 3


def test_a_world_model_trains_on_it_frozen_and_loads_from_its_run(
    pretrained: Path, tiny_experiment, wall_data_root, tmp_path: Path
):
    config = SmallViTConfig(image_size=16, patch_size=4, grid=2, weights=str(pretrained))
    frozen = replace(
        tiny_experiment,
        encoder=config,
        loss=LossConfig(),
        optim=replace(tiny_experiment.optim, num_steps=1, batch_size=4),
    )
    out = tmp_path / "run"
    train_run(frozen, out=out, data_root=wall_data_root, device="cpu", resume=False)
    loaded = load(out)
    assert isinstance(loaded.model.encoder, FrozenEncoder)
    assert loaded.experiment.encoder == config
    assert loaded.model.encoder.identity == load_frozen_encoder(config).identity
    moved = tmp_path / "moved"
    shutil.copytree(pretrained, moved)
    assert load(out, encoder_weights=str(moved)).model.encoder.identity == config.build().identity
    with pytest.raises(UserError, match="belongs to another frozen encoder: sha256"):
        load(out, encoder_weights="random:0")


def test_a_learned_encoder_starts_from_it_and_its_run_needs_it_no_more(
    pretrained: Path, tiny_experiment, wall_data_root, tmp_path: Path
):
    place = tmp_path / "place"
    shutil.copytree(pretrained, place)
    encoder = EncoderConfig(
        family="vit", image_size=16, patch_size=4, grid=2, dim=8, init=str(place)
    )
    optim = replace(tiny_experiment.optim, num_steps=1, batch_size=4, learning_rate=0.0)
    started = replace(tiny_experiment, encoder=encoder, optim=optim)
    out = tmp_path / "run"
    train_run(started, out=out, data_root=wall_data_root, device="cpu", resume=False)
    shutil.rmtree(place)
    found = load(out).model.encoder.backbone.state_dict()
    given = load_checkpoint(pretrained / "checkpoint").tensors
    assert all(torch.equal(found[name], value) for name, value in given.items())
    more = replace(started, optim=replace(optim, num_steps=2))
    with pytest.raises(UserError, match="there is no pretrained encoder in"):
        train_run(more, out=tmp_path / "new", data_root=wall_data_root, device="cpu", resume=False)


def test_by_the_command_line(store_path: Path, tmp_path: Path, capsys):
    out = tmp_path / "vit"
    line = f"pretrain vjepa {store_path} --out {out} --device cpu --json --vit.image-size 16 "
    line += "--vit.patch-size 8 --optim.num-steps 2 --optim.batch-size 2 --num-frames 2 --width 8"
    assert main(line.split()) == 0
    first = json.loads(capsys.readouterr().out)
    assert (first["method"], first["steps"], first["folder"]) == ("vjepa", 2, str(out))
    assert main(line.split()) == 2
    assert "go on with it by --resume, or replace it by --overwrite" in capsys.readouterr().err
    assert main([*line.split(), "--resume", "--seed", "1"]) == 2
    assert "was pretrained with other settings" in capsys.readouterr().err
    assert main([*line.split(), "--resume"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["probe_error"] == first["probe_error"]
    assert again["loss"] is None  # nothing was left to train
    assert main([*line.split(), "--overwrite", "--seed", "1"]) == 0
    assert json.loads(capsys.readouterr().out)["probe_error"] != first["probe_error"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("pretrain", "say how to pretrain: jepawm pretrain dino|vjepa STORE --out DIR"),
        ("pretrain mae store", "say how to pretrain"),
        ("pretrain vjepa gone --out out", "gone"),
        ("pretrain vjepa STORE --out RUN", "holds a model that is no pretrained encoder"),
        ("pretrain vjepa STORE --out STORE", "holds other files"),
        ("eval VIT --out none", "is a pretrained encoder, no world model"),
        ("pretrain vjepa STORE --out out --vit.patch-size 5", "is not at least two patches of 5"),
    ],
)
def test_what_cannot_be_is_refused(
    line: str,
    message: str,
    store_path: Path,
    pretrained: Path,
    tiny_run: Path,
    tmp_path,
    capsys,
    monkeypatch,
):
    monkeypatch.chdir(tmp_path)
    places = {"STORE": store_path, "RUN": tiny_run, "VIT": pretrained}
    before = {path: path.stat().st_mtime_ns for path in store_path.iterdir()}
    assert main([str(places.get(word, word)) for word in line.split()]) == 2
    assert message in capsys.readouterr().err
    assert before == {path: path.stat().st_mtime_ns for path in store_path.iterdir()}


def test_the_probe_finds_what_tokens_hold(store_path: Path):
    from jepawm.data.episodes import open_store

    encoder = load_frozen_encoder(SmallViTConfig(image_size=16, patch_size=4, weights="random"))
    error = probe_error(encoder, open_store(store_path))
    blind = load_frozen_encoder(SmallViTConfig(image_size=16, patch_size=4, weights="random"))
    blind.backbone.vit.patches.weight.data.zero_()
    assert error < 0.8 * probe_error(blind, open_store(store_path))
