"""An environment in the current folder, by command alone: collect, train, evaluate."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture
def folder(tmp_path: Path, project_root: Path) -> Path:
    """Return a folder with `my_env.py`, which registers `Point-v0`."""
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "my_env.py").write_text((project_root / "tests" / "point_env.py").read_text())
    return folder


def command(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    source = Path(__file__).parents[2] / "src"
    return subprocess.run(
        [sys.executable, "-P", "-m", "jepawm", *words],  # without the folder, as where installed
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(source), "JEPAWM_DATA": str(folder / "data")},
        capture_output=True,
        text=True,
        check=False,
    )


def test_collected_from_the_current_folder(folder: Path):
    words = ["--num-episodes", "2", "--num-steps", "3", "--image-size", "16", "--processes", "1"]
    done = command(folder, "collect", "gym:my_env:Point-v0", *words, "--out", "store", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"store": "store", "episodes": 2, "frames": 8}
    for name, message in (
        ("gym:no_such_module:Point-v0", "No module named 'no_such_module'"),
        ("gym:my_env:Broken-v0", "motor 3 is not calibrated"),
    ):
        done = command(folder, "collect", name, *words, "--out", "other", "--json")
        assert done.returncode == 2
        assert message in json.loads(done.stdout)["error"]
        assert not (folder / "other").exists()


@pytest.mark.slow
def test_trained_and_evaluated_by_command_alone(folder: Path):
    env = "gym:my_env:Point-v0"
    few = ["--data.num-episodes", "8", "--optim.num-steps", "4", "--optim.batch-size", "8"]
    small = ["--data.image-size", "32", "--encoder.image-size", "32", "--proposals.num-steps", "0"]
    done = command(
        folder, "train", "wall", "--env", env, *few, *small, "--out", "run", "--device", "cpu"
    )
    assert done.returncode == 0, done.stderr
    words = ["--episodes", "2", "--protocol", "mpc", "--planner", "random_shooting", "--json"]
    words += ["--planner.num-samples", "4", "--device", "cpu"]
    refused = command(folder, "eval", "run", *words)
    assert refused.returncode == 2
    assert "--trust" in json.loads(refused.stdout)["error"]
    done = command(folder, "eval", "run", "--trust", *words)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["env"] == env
    elsewhere = command(folder.parent, "eval", "mine/run", "--trust", "--overwrite", *words)
    assert elsewhere.returncode == 2
    assert "No module named 'my_env'" in json.loads(elsewhere.stdout)["error"]
