"""Training with a frozen encoder: what is trained, what is stored, and which encoder is refused."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

from jepawm.build import build_model
from jepawm.checkpoint import load_checkpoint, read_record
from jepawm.cli import main
from jepawm.errors import UserError
from jepawm.experiment import Experiment
from jepawm.hub.load import load
from jepawm.models.frozen.encoder import FrozenEncoder, FrozenEncoderConfig
from jepawm.runs.evaluate import default_planner
from jepawm.runs.train import train_run
from jepawm.runs.train_state import start_model_from
from jepawm.training.losses import LossConfig
from jepawm.types import Observation

pytest.importorskip("transformers")
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:transformers")


@pytest.fixture(scope="module")
def frozen_experiment(tiny_experiment: Experiment) -> Experiment:
    """Return an experiment on 2 x 2 tokens of a small DINOv2 with random weights."""
    return replace(
        tiny_experiment,
        encoder=FrozenEncoderConfig(image_size=28, weights="random:3"),
        loss=LossConfig(),
        optim=replace(tiny_experiment.optim, num_steps=2, batch_size=4),
        loop=replace(tiny_experiment.loop, num_validation_windows=8),
    )


@pytest.fixture(scope="module")
def frozen_run(frozen_experiment, wall_data_root, tmp_path_factory, module_patch) -> Path:
    """Return a finished run."""
    out = tmp_path_factory.mktemp("frozen") / "run"
    train_run(frozen_experiment, out=out, data_root=wall_data_root, device="cpu", resume=False)
    return out


@pytest.fixture(scope="module")
def module_patch():
    """Fit the probe to few windows."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jepawm.runs.train._PROBE_WINDOWS", 8)
        yield patch


def test_the_checkpoint_holds_the_encoders_identity_and_not_its_weights(frozen_run: Path):
    checkpoint = load_checkpoint(frozen_run / "checkpoint", with_training=True)
    assert {name.split(".")[1] for name in checkpoint.tensors if name.startswith("model.")} == {
        "predictor"
    }
    assert not any("encoder.backbone" in name for name in checkpoint.training)
    encoder = read_record(frozen_run / "checkpoint").encoder
    assert encoder is not None
    assert encoder["name"] == "dinov2 S"
    assert encoder["weights"] == "random:3"
    assert len(str(encoder["sha256"])) == 64


def test_training_moves_the_predictor_alone(frozen_run: Path, frozen_experiment: Experiment):
    start = build_model(frozen_experiment, action_dim=2, proprio_dim=2)
    trained = load(frozen_run)
    assert isinstance(trained.model.encoder, FrozenEncoder)
    assert trained.model.encoder.identity == start.encoder.identity
    before, after = dict(start.named_parameters()), dict(trained.model.named_parameters())
    for name, value in before.items():
        assert torch.equal(value, after[name]) == name.startswith("encoder."), name
    assert trained.experiment == frozen_experiment
    assert trained.probe is not None


def test_its_predictor_is_fine_tuned_for_another_robot(
    frozen_run: Path, frozen_experiment: Experiment, caplog: pytest.LogCaptureFixture
):
    model = build_model(frozen_experiment, action_dim=3, proprio_dim=2)
    start_model_from(model, str(frozen_run))
    mine, theirs = dict(model.named_parameters()), dict(load(frozen_run).model.named_parameters())
    new = {name for name in mine if mine[name].shape != theirs[name].shape}
    assert new == {"predictor.action_encoder.weight"}
    assert all(torch.equal(mine[name], theirs[name]) for name in mine.keys() - new)
    assert "these layers start anew: predictor.action_encoder.weight" in caplog.text
    other = replace(
        frozen_experiment, encoder=replace(frozen_experiment.encoder, weights="random:4")
    )
    with pytest.raises(UserError, match="belongs to another frozen encoder"):
        start_model_from(build_model(other, action_dim=2, proprio_dim=2), str(frozen_run))


def test_a_loaded_model_plans(frozen_run: Path):
    model = load(frozen_run).model
    latents = model.encode(Observation(pixels=torch.zeros(1, 1, 3, 16, 16, dtype=torch.uint8)))
    assert latents.tokens.shape == (1, 1, 4, 384)


def test_another_encoder_is_refused(frozen_run: Path, frozen_experiment: Experiment, tmp_path):
    with pytest.raises(UserError, match=r"another frozen encoder: sha256 .*'random:3', here 'rand"):
        load(frozen_run, encoder_weights="random:4")
    with pytest.raises(UserError, match=r"gone\.pth is missing; give .*dinov2_vits14_pretrain"):
        load(frozen_run, encoder_weights=str(tmp_path / "gone.pth"))
    with pytest.raises(UserError, match="encoder is learned"):
        load("wall", encoder_weights="hub")


def test_an_altered_identity_is_refused_on_resuming(
    frozen_experiment, wall_data_root, tmp_path: Path, module_patch
):
    options = {"data_root": wall_data_root, "device": "cpu"}
    train_run(frozen_experiment, out=tmp_path / "run", resume=False, **options)
    path = tmp_path / "run" / "checkpoint" / "config.json"
    config = json.loads(path.read_text())
    config["encoder"]["image_size"] = 42
    del config["seal"]
    path.write_text(json.dumps(config))
    with pytest.raises(UserError, match="belongs to another frozen encoder: image_size 42 there"):
        train_run(frozen_experiment, out=tmp_path / "run", resume=True, **options)


def test_the_predictors_start_does_not_depend_on_the_encoder(frozen_experiment: Experiment):
    """Nor does drawing random weights for the encoder use up random numbers of the caller."""
    encoders = [replace(frozen_experiment.encoder, weights=f"random:{n}") for n in (0, 1)]
    state = torch.get_rng_state()
    models = [
        build_model(replace(frozen_experiment, encoder=one), action_dim=2, proprio_dim=2)
        for one in encoders
    ]
    assert torch.equal(torch.get_rng_state(), state)
    first, second = (model.predictor.state_dict() for model in models)
    assert all(torch.equal(first[name], second[name]) for name in first)
    one, other = (model.encoder.identity for model in models)
    assert one != other
    assert one == replace(one, weights="elsewhere")
    assert asdict(one)["name"] == "dinov2 S"


def test_its_planner_is_known_without_its_encoder(frozen_run: Path, monkeypatch):
    monkeypatch.setattr("jepawm.models.frozen.weights.load_frozen_encoder", None)
    assert default_planner(str(frozen_run)).num_samples == 8


def test_evaluation_tells_where_the_encoder_is(frozen_run: Path, tmp_path: Path):
    options = ["--episodes", "1", "--out", str(tmp_path / "results"), "--device", "cpu"]
    wrong = ["--encoder-weights", "random:9"]
    assert main(["eval", str(frozen_run), *options, *wrong]) == 2
    assert main(["eval", str(frozen_run), *options, "--encoder-weights", "random:3"]) == 0
    assert (tmp_path / "results" / "results.json").is_file()
