"""Files of pickled modules: tensors come out, nothing runs, and other objects are refused."""

import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import nn
from torch.serialization import get_safe_globals

from jepawm.errors import UserError
from jepawm.hub.pickled_modules import Inert, read_modules


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
