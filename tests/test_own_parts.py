"""Own parts by `module:Class`: they train and plan, and a run alone does not make their code run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PARTS = """from dataclasses import dataclass
from typing import ClassVar
from pathlib import Path
import torch
from torch import nn
from jepawm.planning.cem import CEM
Path("imported.txt").write_text("x")
class Net(nn.Module):
    def __init__(self, dim):
        super().__init__(); self.dim=dim; self.grid=(1,1); self.num_tokens=1
        self.net=nn.Sequential(nn.AdaptiveAvgPool2d(8), nn.Flatten(), nn.Linear(192, dim))
    def forward(self, pixels):
        x=self.net(pixels.reshape(-1,*pixels.shape[-3:]).float()/255)
        return x.reshape(*pixels.shape[:-3],1,self.dim)
@dataclass(frozen=True, kw_only=True)
class MyEncoder:
    dim: int = 16
    def build(self): return Net(self.dim)
@dataclass(frozen=True, kw_only=True)
class MyPlanner:
    num_samples: int = 8
    needs_gradients: ClassVar[bool] = False
    def plan(self, cost, init, *, bounds, generator):
        return CEM(num_samples=self.num_samples, num_elites=2, num_iterations=2).plan(cost, init, bounds=bounds, generator=generator)
@dataclass(frozen=True, kw_only=True)
class MyCost:
    weight: float = 1.0
    def __call__(self, predicted, goal, actions):
        return self.weight*(predicted.tokens[:,:,-1]-goal.tokens[:,None]).square().mean((-2,-1))
"""
SMALL = "--data.num-episodes 16 --optim.num-steps 4 --optim.batch-size 8 --data-root data"
OWN = "--encoder mine_parts:MyEncoder --encoder.dim 8 --objective mine_parts:MyCost"


def jepawm(folder: Path, words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "jepawm", *words.split(), "--device", "cpu"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_own_parts_train_and_plan_and_a_file_alone_runs_nothing(tmp_path: Path):
    (tmp_path / "mine_parts.py").write_text(PARTS)
    marker = tmp_path / "imported.txt"
    trained = jepawm(tmp_path, f"train wall {OWN} --planner mine_parts:MyPlanner {SMALL} --out run")
    assert trained.returncode == 0, trained.stderr
    marker.unlink()
    refused = jepawm(tmp_path, "eval run --episodes 2 --out refused")
    assert refused.returncode == 2
    assert "code of the module 'mine_parts'" in refused.stderr
    assert not marker.exists()
    trusted = jepawm(tmp_path, "eval run --episodes 2 --out trusted --trust")
    assert trusted.returncode == 0, trusted.stderr
    assert marker.exists()
    named = jepawm(tmp_path, "eval run --episodes 2 --out named --planner mine_parts:MyPlanner")
    assert named.returncode == 0, named.stderr
