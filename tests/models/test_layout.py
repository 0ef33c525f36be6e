"""Modules that have shapes and nothing else."""

import subprocess
import sys

import torch
from torch import nn

from jepawm.models.layout import layout_only
from jepawm.models.proposer import Proposer, ProposerShape
from jepawm.proposals import ProposerConfig


class Drawn(nn.Module):
    """A module that draws in every way that ours do."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 5)
        self.picture = nn.Conv2d(2, 4, 3)
        self.table = nn.Embedding(6, 2)
        self.codes = nn.Parameter(0.02 * torch.randn(7, 2))
        nn.init.trunc_normal_(self.layer.weight, std=0.02)
        nn.init.zeros_(self.layer.bias)
        self.layer.weight.data.div_(2.0).mul_(3.0)


def shapes(module: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in module.state_dict().items()}


def test_names_and_shapes_are_those_of_the_module():
    with layout_only():
        empty = Drawn()
    assert shapes(empty) == shapes(Drawn())
    assert all(value.is_meta for value in empty.state_dict().values())


def test_outside_of_it_numbers_are_drawn_as_ever():
    torch.manual_seed(3)
    before = Drawn()
    with layout_only():
        Drawn()
        kept = torch.zeros(2, device="cpu").add_(1.0)
    torch.manual_seed(3)
    assert all(map(torch.equal, before.state_dict().values(), Drawn().state_dict().values()))
    assert kept.tolist() == [1.0, 1.0]


def test_a_proposer_has_a_layout():
    config = ProposerConfig()
    shape = ProposerShape(num_tokens=4, latent_dim=8, proprio_dim=2, action_dim=4, horizon=2)
    with layout_only():
        empty = Proposer(config, shape)
    assert shapes(empty) == shapes(Proposer(config, shape))


def test_a_bundled_model_loads_without_the_compiler_of_torch():
    code = (
        "import sys\nfrom jepawm.hub.load import load\nmodel = load('wall')\n"
        "assert model.proposer is not None and model.decoder is not None\n"
        "print([name for name in ('sympy', 'torch._dynamo') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
