"""Training from a feature cache equals training with the encoder in the loop."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from jepawm.cli import main
from jepawm.data.episodes import open_store
from jepawm.data.features import open_features
from jepawm.errors import UserError
from jepawm.experiment import Experiment
from jepawm.models.encoders import EncoderConfig
from jepawm.models.frozen.encoder import FrozenEncoderConfig
from jepawm.runs.datasets import find_or_collect, store_path
from jepawm.runs.train import train_run
from jepawm.training.losses import LossConfig

pytest.importorskip("transformers")
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:transformers")


@pytest.fixture(scope="module")
def experiment(tiny_experiment: Experiment) -> Experiment:
    """Return an experiment on 2 x 2 tokens of a DINOv2 with random weights, and few frames."""
    return replace(
        tiny_experiment,
        encoder=FrozenEncoderConfig(image_size=28, weights="random:3"),
        loss=LossConfig(),
        optim=replace(tiny_experiment.optim, num_steps=6, batch_size=4, warmup_steps=0),
        loop=replace(tiny_experiment.loop, log_every=1, validate_every=3, num_validation_windows=8),
        data=replace(tiny_experiment.data, num_episodes=4, episode_steps=20, train_fraction=0.5),
    )


@pytest.fixture(scope="module")
def data_root(tmp_path_factory, experiment: Experiment) -> Path:
    root = tmp_path_factory.mktemp("data")
    find_or_collect(experiment.env, experiment.data, data_root=root, processes=1)
    return root


@pytest.fixture(autouse=True)
def small_probe(monkeypatch):
    monkeypatch.setattr("jepawm.runs.train._PROBE_WINDOWS", 8)


def run(experiment: Experiment, out: Path, data_root: Path, **data) -> tuple[list[dict], dict]:
    changed = replace(experiment, data=replace(experiment.data, **data))
    result = train_run(changed, out=out, data_root=data_root, device="cpu", resume=False)
    return [json.loads(line) for line in (out / "metrics.jsonl").open()], result


def test_losses_validation_and_probe_are_those_of_encoding_in_the_loop(
    experiment: Experiment, data_root: Path, tmp_path: Path, monkeypatch
):
    plain, without = run(experiment, tmp_path / "plain", data_root)
    cached, result = run(experiment, tmp_path / "cached", data_root, feature_cache="auto")
    folders = list(data_root.glob("*.features/dinov2-S-28px-*/features.json"))
    assert len(folders) == 1
    assert [row["step"] for row in cached] == [row["step"] for row in plain]
    for one, other in zip(plain, cached, strict=True):
        assert one.keys() == other.keys()
        for key in one:
            if key.startswith(("train/", "val/")):
                spread = key == "val/effective_rank"  # the smallest directions count in full
                assert other[key] == pytest.approx(one[key], rel=1e-2 if spread else 1e-3), key
    assert plain[0]["train/loss"] != plain[-1]["train/loss"]
    assert result["probe_error"] == pytest.approx(without["probe_error"], rel=1e-2)
    assert result["gflop_per_step"] < 0.8 * without["gflop_per_step"]  # the encoder is not run
    monkeypatch.setattr("jepawm.runs.features.compute_features", None)  # computed once
    again, _ = run(experiment, tmp_path / "again", data_root, feature_cache="auto")
    assert [row["train/loss"] for row in again] == [row["train/loss"] for row in cached]


def test_a_cache_of_another_encoder_size_or_store_is_refused(
    experiment: Experiment, data_root: Path, tmp_path: Path
):
    place = str(tmp_path / "cache")
    store = store_path(experiment.env, experiment.data, data_root=data_root)
    fields = ["--encoder.image-size", "28", "--encoder.weights", "random:3", "--device", "cpu"]
    assert main(["data", "features", str(store), "--out", place, *fields]) == 0
    encoder = experiment.encoder
    for changes, message in (
        ({"weights": "random:4"}, r"cache belongs to another frozen encoder: sha256 .*'random:3'"),
        ({"image_size": 42}, "image_size 28 there, 42 here"),
        ({"normalization": "half"}, "normalization 'imagenet' there, 'half' here"),
    ):
        other = replace(experiment, encoder=replace(encoder, **changes))
        with pytest.raises(UserError, match=message):
            run(other, tmp_path / "run", data_root, feature_cache=place)
    with pytest.raises(UserError, match=r"computed from the frames of the store 'wall.*, not of"):
        run(experiment, tmp_path / "run", data_root, feature_cache=place, seed=1)


def test_encoders_have_caches_of_their_own(experiment: Experiment, data_root: Path, tmp_path: Path):
    other = replace(experiment, encoder=replace(experiment.encoder, weights="random:5"))
    store = store_path(experiment.env, experiment.data, data_root=data_root)
    before = set(data_root.glob("*.features/*/tokens.npy"))
    run(other, tmp_path / "run", data_root, feature_cache="auto")
    (new,) = set(data_root.glob("*.features/*/tokens.npy")) - before
    cache = open_features(new.parent)
    assert cache.manifest.encoder["weights"] == "random:5"
    assert cache.array.shape == (open_store(store).manifest.num_frames, 4, 384)
    assert np.isfinite(cache.array).all()


def test_a_learned_encoder_has_no_cache(experiment: Experiment, tmp_path: Path, capsys):
    with pytest.raises(UserError, match="feature_cache = 'auto' keeps the tokens of a frozen"):
        replace(
            experiment,
            encoder=EncoderConfig(),
            data=replace(experiment.data, feature_cache="auto"),
        )
    assert main(["data", "features", str(tmp_path), "--recipe", "wall"]) == 2
    assert "this one is learned" in capsys.readouterr().err


def test_features_beforehand_are_found_by_training(
    experiment: Experiment, data_root: Path, tmp_path: Path, capsys, monkeypatch
):
    store = store_path(experiment.env, experiment.data, data_root=data_root)
    fields = ["--encoder.image-size", "28", "--encoder.weights", "random:6", "--device", "cpu"]
    recipe = ["--recipe", "jepa_wm_wall"]
    assert main(["data", "features", str(store), *recipe, *fields, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["bytes per frame"] == 4 * 384 * 2
    assert told["bytes"] == told["frames"] * 3072
    monkeypatch.setattr("jepawm.runs.features.compute_features", None)
    other = replace(experiment, encoder=replace(experiment.encoder, weights="random:6"))
    run(other, tmp_path / "run", data_root, feature_cache="auto")
