"""Models load from their folders alone, identical to what was saved; damage is refused."""

import json
import shutil
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from jepawm.checkpoint import Checkpoint, load_checkpoint, read_record, save_checkpoint
from jepawm.errors import UserError
from jepawm.experiment import Experiment
from jepawm.hub import bundled_names, load
from jepawm.hub.load import load_experiment
from jepawm.hub.released import released_experiment
from jepawm.planning.cem import CEM
from jepawm.planning.objectives import LatentDistance
from jepawm.protocol import Protocol
from jepawm.types import Context, Observation

MODULE = import_module("jepawm.hub.load")  # the package has a function of this name


@pytest.fixture
def copied(tiny_run: Path, tmp_path: Path) -> Path:
    """Return a copy of the tiny checkpoint that a test may damage."""
    shutil.copytree(tiny_run / "checkpoint", tmp_path / "copied")
    return tmp_path / "copied"


def rewrite(folder: Path, tensors: dict[str, torch.Tensor], **config: object) -> None:
    """Write a checkpoint with other tensors or another record, right hashes and no seal."""
    save_checkpoint(folder, Checkpoint(record=read_record(folder), tensors=tensors))
    path = folder / "config.json"
    changed = json.loads(path.read_text()) | config
    del changed["seal"]
    path.write_text(json.dumps(changed))


def outputs(source: Path) -> list[torch.Tensor]:
    loaded = load(source)
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (2, 2, 3, 16, 16), generator=generator, dtype=torch.uint8)
    latents = loaded.model.encode(Observation(pixels=pixels))
    context = Context(latents=latents, actions=torch.randn(2, 1, 10, generator=generator))
    rolled = loaded.model.rollout(context, torch.randn(2, 4, 10, generator=generator))
    assert loaded.probe is not None
    return [latents.tokens, rolled.tokens, loaded.probe(rolled)]


def test_a_run_and_its_checkpoint_load_alike(tiny_run: Path, tiny_experiment: Experiment):
    run, folder = load(tiny_run), load(tiny_run / "checkpoint")
    assert run.experiment == folder.experiment == tiny_experiment
    assert not run.model.training
    assert not any(parameter.requires_grad for parameter in run.model.parameters())
    assert run.name == str(tiny_run)
    for first, second in zip(outputs(tiny_run), outputs(tiny_run / "checkpoint"), strict=True):
        assert torch.equal(first, second)


def test_the_configuration_is_read_without_building(tiny_run: Path, tiny_experiment: Experiment):
    assert load_experiment(tiny_run) == tiny_experiment
    assert load_experiment("jepa_wm_droid") == released_experiment("jepa_wm_droid")
    with pytest.raises(UserError, match="no model 'magic'"):
        load_experiment("magic")


def test_the_configuration_is_read_without_the_weights(copied: Path, tiny_experiment: Experiment):
    (copied / "model.safetensors").unlink()
    assert load_experiment(copied) == tiny_experiment


def test_a_loaded_model_makes_its_environment_and_its_agents(tiny_run: Path):
    loaded = load(tiny_run)
    env = loaded.make_env()
    agent = loaded.agent(protocol="mpc", seed=1)
    obs = env.reset(env.sample_tasks(0, num_tasks=2))
    assert obs.pixels.shape == (2, 3, 16, 16)
    agent.reset(env.goal_observation(), 12)
    assert agent.act(obs).shape == (2, 10)
    assert (agent.protocol.num_action_steps, agent.config) == (1, loaded.experiment.agent)
    assert agent.planner == replace(loaded.experiment.planner, num_iterations=10)  # the protocol's
    own, objective = CEM(num_samples=4, num_elites=2), LatentDistance(metric="l1")
    other = loaded.agent(protocol=Protocol(name="x", horizon=7), planner=own, objective=objective)
    assert (other.planner, other.objective, other.protocol.horizon) == (own, objective, 7)
    with pytest.raises(UserError, match="unknown protocol 'magic'"):
        loaded.agent(protocol="magic")
    blind = replace(loaded, experiment=replace(loaded.experiment, env="recordings"))
    with pytest.raises(UserError, match="trained on recordings"):
        blind.make_env()


def test_a_copied_folder_gives_identical_outputs(tiny_run: Path, copied: Path):
    for first, second in zip(outputs(tiny_run), outputs(copied), strict=True):
        assert torch.equal(first, second)


def test_weights_and_normalizer_are_those_saved(tiny_run: Path, wall_data_root: Path):
    loaded = load(tiny_run)
    saved = load_file(tiny_run / "checkpoint" / "model.safetensors")
    for name, value in loaded.model.state_dict().items():
        assert torch.equal(value, saved[f"model.{name}"])
    manifest = json.loads((next(wall_data_root.iterdir()) / "manifest.json").read_text())
    torch.testing.assert_close(
        loaded.normalizer.action_mean.tolist(), manifest["statistics"]["action_mean"]
    )


def test_an_unknown_name_lists_the_known_ones(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    with pytest.raises(UserError, match=r"no model 'magic': .*\(bundled: "):
        load("magic")
    monkeypatch.setattr(MODULE, "_bundle", lambda: tmp_path)
    with pytest.raises(
        UserError,
        match=r"\(bundled: none\), nor a released model \(dino_wm_droid, .*; train one with `jepawm train",
    ):
        load("magic")
    for name in ("wall", "maze"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
    (tmp_path / "not-a-model").mkdir()
    assert bundled_names() == ["maze", "wall"]
    with pytest.raises(UserError, match=r"\(bundled: maze, wall\)"):
        load("magic")


def test_a_bundled_model_loads_by_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tiny_run: Path
):
    shutil.copytree(tiny_run / "checkpoint", tmp_path / "tiny")
    monkeypatch.setattr(MODULE, "_bundle", lambda: tmp_path)
    assert load("tiny").name == "tiny"


def test_a_folder_without_a_model_says_why(tmp_path: Path):
    with pytest.raises(UserError, match=r"there is no config\.json"):
        load(tmp_path)
    (tmp_path / "checkpoint").mkdir()
    (tmp_path / "checkpoint" / "model.pth.tar").write_bytes(b"")
    with pytest.raises(UserError, match=r"model\.pth\.tar but no config\.json; pickles are never"):
        load(tmp_path)
    with pytest.raises(UserError, match="may be a pickle; these are never loaded"):
        load(tmp_path / "checkpoint" / "model.pth.tar")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("missing", r"does not fit its configuration: missing model\.predictor\.norm\.bias"),
        ("extra", r"unexpected model\.magic"),
        ("shape", r"model\.predictor\.norm\.bias is \(3,\) instead of \(16,\)"),
        ("nan", r"NaN or infinite weights in model\.predictor\.norm\.bias"),
        ("probe", r"has a probe without a weight matrix"),
        ("probe shape", r"probe\.bias is \(5,\) instead of \(2,\)"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(copied: Path, change: str, message: str):
    tensors = {name: x.clone() for name, x in load_checkpoint(copied).tensors.items()}
    name = "model.predictor.norm.bias"
    if change == "missing":
        del tensors[name]
    elif change == "extra":
        tensors["model.magic"] = torch.ones(1)
    elif change == "shape":
        tensors[name] = torch.ones(3)
    elif change == "nan":
        tensors[name][0] = torch.nan
    elif change == "probe":
        del tensors["probe.weight"]
    else:
        tensors["probe.bias"] = torch.ones(5)
    rewrite(copied, tensors)
    with pytest.raises(UserError, match=message):
        load(copied)


def test_an_altered_file_is_refused(copied: Path):
    tensors = load_file(copied / "model.safetensors")
    save_file({name: x + 1 for name, x in tensors.items()}, copied / "model.safetensors")
    with pytest.raises(UserError, match="was altered"):
        load(copied)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"experiment": None}, r"config\.json has no experiment"),
        ({"experiment": {}, "step": -1}, r"step = -1 is not a count"),
        ({"dims": None}, r"config\.json has no dims"),
        ({"dims": {"action_dim": -2, "proprio_dim": 2}}, r"dims\.action_dim = -2 is not a count"),
        ({"dims": {"action_dim": 2}}, r"dims\.proprio_dim = None is not a count"),
        ({"dims": {"action_dim": 3, "proprio_dim": 2}}, r"action_encoder\.weight is \(16, 10\)"),
        ({"normalizer": []}, r"config\.json has no normalizer"),
        ({"normalizer": {"action_mean": [0.0]}}, r"normalizer\.action_std is not a list"),
    ],
)
def test_a_damaged_configuration_is_refused(copied: Path, config, message: str):
    rewrite(copied, dict(load_checkpoint(copied).tensors), **config)
    with pytest.raises(UserError, match=message):
        load(copied)


def changed_experiment(folder: Path, part: str, **fields: object) -> None:
    experiment = dict(read_record(folder).experiment)
    section = experiment[part]
    assert isinstance(section, dict)
    rewrite(
        folder,
        dict(load_checkpoint(folder).tensors),
        experiment=experiment | {part: section | fields},
    )


@pytest.mark.parametrize(
    ("part", "fields", "message"),
    [
        ("predictor", {"visual_dim": 64000}, r"predictor\.embed\.weight is \(16, 8\) instead of"),
        ("predictor", {"hidden_dim": 65000}, "does not fit its configuration"),
        ("predictor", {"depth": 900}, r"predictor\.depth = 900, and the weights are|depth = 900;"),
        ("predictor", {"depth": 10**9}, r"predictor\.depth = 1000000000"),
        ("predictor", {"visual_dim": 2**64}, r"predictor\.visual_dim|no configuration of a model"),
        ("predictor", {"visual_dim": -16}, r"predictor\.visual_dim|no configuration of a model"),
        ("encoder", {"dim": 10**11}, r"encoder\.dim|bytes of tables|does not fit its"),
        ("encoder", {"dim": 2**64}, r"encoder\.dim|no configuration of a model"),
        ("encoder", {"image_size": 16 * 10**6}, r"encoder\.image_size = 16000000"),
        ("data", {"image_size": 10**7}, r"data\.image_size = 10000000"),
        ("data", {"image_size": 0}, r"data\.image_size = 0"),
    ],
)
def test_a_configuration_of_another_model_takes_no_memory(copied: Path, part, fields, message):
    """What it asks for is compared with the weights first: some could not be allocated at all."""
    changed_experiment(copied, part, **fields)
    with pytest.raises(UserError, match=message):
        load(copied)


@pytest.mark.parametrize(
    "change",
    [
        {"action_std": [1.0]},
        {"action_mean": [10**400, 0]},
        {"action_mean": [1e39, 0.0]},
        {"action_mean": [], "action_std": []},
        {"action_mean": [True, 0.0]},
        {"proprio_std": None},
        {"action_mean": [0.0] * 3, "action_std": [1.0] * 3},
        {"proprio_mean": [0.0], "proprio_std": [1.0]},
    ],
)
def test_statistics_that_do_not_fit_are_refused(copied: Path, change: dict[str, object]):
    normalizer = json.loads((copied / "config.json").read_text())["normalizer"] | change
    rewrite(copied, dict(load_checkpoint(copied).tensors), normalizer=normalizer)
    with pytest.raises(UserError, match=r"config\.json"):
        load(copied)


def test_weights_that_are_no_floating_point_numbers_are_refused(copied: Path):
    tensors = dict(load_checkpoint(copied).tensors)
    name = "model.predictor.norm.bias"
    rewrite(copied, tensors | {name: tensors[name].to(torch.int64)})
    with pytest.raises(UserError, match=rf"{name} is torch\.int64 instead of torch\.float32"):
        load(copied)


def test_the_size_of_the_frames_is_known(tiny_run: Path, copied: Path):
    assert load(tiny_run).model.image_size == 16
    config = json.loads((copied / "config.json").read_text())
    del config["data"], config["seal"]  # as an earlier version wrote it
    (copied / "config.json").write_text(json.dumps(config))
    assert load(copied).model.image_size == 16


@pytest.mark.parametrize("name", bundled_names())
def test_bundled_checkpoints_are_sealed(name: str):
    folder = Path(str(import_module("importlib.resources").files("jepawm.hub"))) / "checkpoints"
    assert "seal" in json.loads((folder / name / "config.json").read_text())


@pytest.mark.parametrize("name", ["pointmaze", "wall"])
def test_bundled_proposers_belong_to_their_models(name: str):
    loaded = load(name)  # a proposer of another model is refused
    assert loaded.proposer is not None
    longest = max(protocol.horizon for protocol in loaded.experiment.protocols)
    assert loaded.proposer.horizon == longest
