"""What a script calls: it trains, loads and evaluates with parts of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from jepawm import UserError, register

PARTS = """from dataclasses import dataclass
from typing import ClassVar

import jepawm
from torch import nn

@dataclass(frozen=True, kw_only=True)
class MyEncoder:
    dim: int = 16
    def build(self):
        return Net(self.dim)

class Net(nn.Module):
    num_tokens, grid = 1, (1, 1)
    def __init__(self, dim):
        super().__init__()
        self.dim = dim
        self.net = nn.Sequential(nn.AdaptiveAvgPool2d(8), nn.Flatten(), nn.Linear(192, dim))
    def forward(self, pixels):
        tokens = self.net(pixels.reshape(-1, *pixels.shape[-3:]).float() / 255)
        return tokens.reshape(*pixels.shape[:-3], 1, self.dim)

@dataclass(frozen=True, kw_only=True)
class MyPlanner:
    num_samples: int = 8
    needs_gradients: ClassVar[bool] = False
    def plan(self, cost, init, *, bounds, generator):
        shooting = jepawm.RandomShooting(num_samples=self.num_samples)
        return shooting.plan(cost, init, bounds=bounds, generator=generator)
"""
SCRIPT = """from dataclasses import replace

import jepawm
from mine import MyEncoder, MyPlanner

small = replace(
    jepawm.WALL,
    data=replace(jepawm.WALL.data, num_episodes=16),
    optim=replace(jepawm.WALL.optim, num_steps=2, batch_size=8),
    proposals=replace(jepawm.WALL.proposals, num_steps=0),
)
run = jepawm.train(
    replace(small, encoder=MyEncoder(dim=64), planner=MyPlanner()), out="runs/mine", data_root="data"
)
mine = jepawm.load(run)
assert mine.model.encoder.dim == 64
assert mine.experiment.planner == MyPlanner()
results = jepawm.evaluate(mine.make_env(), mine.agent(), num_tasks=2)
assert set(results.rows) == {"do_nothing", "random", "oracle", "model"}, results.rows
"""


def test_a_script_trains_loads_and_evaluates_with_own_parts(tmp_path: Path):
    (tmp_path / "mine.py").write_text(PARTS)
    (tmp_path / "script.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, "script.py"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_a_kind_that_does_not_exist_is_refused():
    with pytest.raises(UserError, match=r"no kind 'robot' \(known: collection_policy, "):
        register("robot", "mine", object)
