"""Files of the released layouts come in whole and act as written; files of other projects too."""

import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.serialization import get_safe_globals

from jepawm.checkpoint import load_checkpoint
from jepawm.cli import main
from jepawm.errors import UserError
from jepawm.hub.imports import Inert, import_vjepa2_ac, read_modules
from jepawm.hub.load import load
from jepawm.hub.released import RELEASED, released_experiment
from released_files import (
    MODELS,
    Groups,
    assert_same,
    dino_wm_layout,
    direct,
    layout,
    predict,
    random_groups,
    shallow,
    take,
    without_encoder,
    write,
)


@pytest.mark.parametrize("model", MODELS)
def test_every_released_layout_comes_in_whole_and_acts_as_written(model: str, tmp_path: Path):
    groups = random_groups(layout(model, depth=1))
    imported = take(write(tmp_path / "file.pth.tar", groups), shallow(model))
    assert imported.origin["dropped"] == ["opt", "scaler", "epoch"]
    assert imported.origin["epoch"] == 50
    dim, proprio_dim = MODELS[model][1], MODELS[model][6]
    got = predict(without_encoder(imported, dim=dim), proprio_dim=proprio_dim)
    assert_same(got, predict(direct(model, groups), proprio_dim=proprio_dim))


def test_all_released_models_are_here():
    assert set(RELEASED) == set(MODELS)
    for name in MODELS:
        assert released_experiment(name).name == name


def test_the_public_file_of_v_jepa_2_ac_brings_its_encoder(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("jepawm.hub.imports.released_experiment", shallow)
    groups = random_groups(layout("vjepa2_ac_oss", depth=1))
    content = {group: {f"module.{k}": v for k, v in x.items()} for group, x in groups.items()}
    encoder = {"module.backbone.norm.weight": torch.ones(1408)}
    path = tmp_path / "vjepa2-ac-vitg.pt"
    torch.save(content | {"encoder": encoder, "opt": {}, "loss": 0.3, "lr": 1e-4}, path)
    imported = import_vjepa2_ac(path)
    assert imported.experiment.encoder.weights == str(path)
    assert imported.origin["dropped"] == ["encoder", "opt", "loss", "lr"]
    for name, value in direct("vjepa2_ac_oss", groups).state_dict().items():
        assert torch.equal(imported.weights[name], value)
    torch.save(content, path)
    assert import_vjepa2_ac(path).experiment.encoder.weights == "hub"
    assert import_vjepa2_ac(path, encoder_weights="random").experiment.encoder.weights == "random"


class Part(nn.Module):
    """A module with parameters of given names."""

    def __init__(self, tensors: dict[str, Tensor]) -> None:
        super().__init__()
        for name, value in tensors.items():
            *path, last = name.split(".")
            place: nn.Module = self
            for step in path:
                if step not in dict(place.named_children()):
                    place.add_module(step, nn.Module())
                place = getattr(place, step)
            place.register_parameter(last, nn.Parameter(value))


@pytest.fixture
def dino_wm_groups() -> Groups:
    """Return the tensors of an original checkpoint: 14 x 14 tokens, three frames of history."""
    width = 384 + 10 + 10
    return random_groups(
        dino_wm_layout(
            width, depth=2, code=10, action_code=10, action=10, proprio=4, num_tokens=3 * 14**2
        )
    )


@pytest.mark.parametrize("pickled", [True, False])
def test_original_checkpoints_of_dino_wm_come_in(
    pickled: bool, dino_wm_groups: Groups, tmp_path: Path, monkeypatch, capsys
):
    path = tmp_path / "model_latest.pth"
    with monkeypatch.context() as patch:
        module = ModuleType("models.vit")
        module.Part = Part  # type: ignore[attr-defined]
        patch.setitem(sys.modules, "models", ModuleType("models"))
        patch.setitem(sys.modules, "models.vit", module)
        patch.setattr(Part, "__module__", "models.vit")
        content = {name: Part(x) if pickled else x for name, x in dino_wm_groups.items()}
        optimizer = {"state": {}, "param_groups": []}
        torch.save({"epoch": 9, **content, "predictor_optimizer": optimizer}, path)
    out = tmp_path / "out"
    arguments = ["import", "dino-wm", str(path), "--model", "dino_wm_pusht", "--out", str(out)]
    assert main([*arguments, "--encoder-weights", "random"]) == 0
    checkpoint = load_checkpoint(out)
    experiment = load(out).experiment if pickled else None
    if experiment is not None:
        assert (experiment.encoder.image_size, experiment.predictor.window) == (196, 3)
        assert (experiment.predictor.depth, experiment.proprio.dim) == (2, 10)
    expected = direct("dino_wm_pusht", dino_wm_groups, depth=2, grid=14, window=3)
    for name, value in expected.state_dict().items():
        assert torch.equal(checkpoint.tensors[f"model.{name}"], value)
    assert main([*arguments[:-1], str(tmp_path / "other"), "--window", "2"]) == 2
    assert "pos_embedding is (1, 588, 404) instead of" in capsys.readouterr().err


def test_what_is_no_dino_wm_model_is_refused(tmp_path: Path, dino_wm_groups: Groups, capsys):
    path = write(tmp_path / "file.pth", dino_wm_groups)
    arguments = ["import", "dino-wm", str(path), "--out", str(tmp_path / "out")]
    assert main(arguments) == 2
    assert "say which model it is: --model NAME, one of dino_wm_droid, " in capsys.readouterr().err
    assert main([*arguments, "--model", "jepa_wm_wall"]) == 2
    assert "jepa_wm_wall is no DINO-WM model" in capsys.readouterr().err
    assert main([*arguments, "--model", "dino_wm_wall", "--window", "0"]) == 2
    assert "--window 0" in capsys.readouterr().err
    with pytest.raises(UserError, match="no released model is called"):
        released_experiment("dino_wm_magic")


class Embedding(nn.Module):
    """As DINO-WM's encoder of actions, with a buffer of each kind."""

    def __init__(self) -> None:
        super().__init__()
        self.patch_embed = nn.Conv1d(3, 4, kernel_size=1)
        self.layers = nn.ModuleList([nn.Sequential(nn.Linear(2, 2), nn.GELU(), nn.Dropout(0.1))])
        self.register_buffer("bias", torch.ones(2))
        self.register_buffer("passing", torch.ones(1), persistent=False)


class Optimizer:
    """As accelerate wraps one."""

    def __init__(self, module: nn.Module) -> None:
        self.optimizer = torch.optim.AdamW(module.parameters())
        self.device = torch.device("cuda")


class Payload:
    """What would run a command when unpickled."""

    def __reduce__(self) -> tuple:
        import os

        return os.system, ("touch jepawm-was-here",)


@pytest.fixture
def foreign(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the classes above lie in modules that exist while the file is written only."""
    for kind, place in ((Embedding, "models.proprio"), (Optimizer, "accelerate.optimizer")):
        module = ModuleType(place)
        setattr(module, kind.__name__, kind)
        monkeypatch.setitem(sys.modules, place.split(".")[0], ModuleType(place.split(".")[0]))
        monkeypatch.setitem(sys.modules, place, module)
        monkeypatch.setattr(kind, "__module__", place)


def test_modules_give_their_state(foreign, monkeypatch, tmp_path: Path):
    module = Embedding()
    optimizer = Optimizer(module)
    module.patch_embed(torch.ones(1, 3, 2)).sum().backward()
    optimizer.optimizer.step()
    path = tmp_path / "model_latest.pth"
    torch.save({"epoch": 7, "action_encoder": module, "opt": optimizer}, path)
    monkeypatch.undo()
    content = read_modules(path)
    assert (content["epoch"], content["opt"]) == (7, {})
    state = module.state_dict()
    assert isinstance(content["action_encoder"], dict)
    assert content["action_encoder"].keys() == state.keys()
    assert all(torch.equal(x, state[name]) for name, x in content["action_encoder"].items())
    assert Inert not in [one[0] for one in get_safe_globals() if isinstance(one, tuple)]


def test_files_of_tensors_are_read_alike(tmp_path: Path):
    state = nn.Linear(2, 3).state_dict()
    torch.save({"predictor": state, "epoch": 1}, tmp_path / "state.pth")
    content = read_modules(tmp_path / "state.pth")
    assert torch.equal(content["predictor"]["weight"], state["weight"])


def test_code_is_named_and_never_run(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"predictor": Payload()}, tmp_path / "bad.pth")
    with pytest.raises(UserError, match=r"bad\.pth: it names (posix|nt)\.system, .*never restored"):
        read_modules(tmp_path / "bad.pth")
    assert not (tmp_path / "jepawm-was-here").exists()
    with pytest.raises(UserError, match=r"none\.pth is missing"):
        read_modules(tmp_path / "none.pth")


def test_numbers_of_numpy_do_not_block_a_file(tmp_path: Path):
    groups = random_groups(layout("jepa_wm_wall", depth=1))
    path = write(tmp_path / "file.pth.tar", groups)
    content = torch.load(path) | {
        "epoch": np.int64(7), "loss": np.float64(0.3), "lr": np.float32(1e-4),
        "best": {"val": np.float16(0.1)}, "rng": np.random.RandomState(0).get_state(),
    }  # fmt: skip
    torch.save(content, path)
    imported = take(path, shallow("jepa_wm_wall"))
    assert imported.origin["epoch"] == 7
    assert imported.origin["dropped"] == [
        *("opt", "scaler", "epoch", "loss", "lr", "best", "rng"),
    ]  # fmt: skip


def test_weights_kept_as_arrays_of_numpy_come_in(tmp_path: Path):
    groups = random_groups(layout("jepa_wm_wall", depth=1))
    plain = take(write(tmp_path / "a.pth", groups), shallow("jepa_wm_wall"))
    arrays = {k: {n: v.numpy() for n, v in one.items()} for k, one in groups.items()}
    torch.save(arrays, tmp_path / "b.pth")
    found = take(tmp_path / "b.pth", shallow("jepa_wm_wall"))
    assert all(torch.equal(found.weights[name], value) for name, value in plain.weights.items())


def test_modules_beside_numbers_of_numpy_come_in(foreign, monkeypatch, tmp_path: Path):
    module = Embedding()
    path = tmp_path / "model_latest.pth"
    torch.save({"epoch": np.int64(7), "action_encoder": module, "best": np.ones(2)}, path)
    monkeypatch.undo()
    content = read_modules(path)
    assert content["epoch"] == 7
    assert content["action_encoder"].keys() == module.state_dict().keys()


def test_other_weights_than_those_of_the_model_are_named(tmp_path: Path):
    path = write(tmp_path / "file.pth.tar", random_groups(layout("jepa_wm_wall", depth=1)))
    torch.save(torch.load(path) | {"policy": {"w": torch.ones(2)}}, path)
    with pytest.raises(UserError, match="holds policy besides predictor"):
        take(path, shallow("jepa_wm_wall"))
