"""A fresh environment without extras does what the README shows, and missing extras are named."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import jepawm

ROOT = Path(__file__).parents[1]
ABSENT = """import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == {package!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Absent())
"""
"""A sitecustomize.py: in this process and its children a package is not there."""
EXTRAS = [
    ("cma", "cma", "eval wall --planner cma --episodes 1"),
    ("data", "av", "data import videos"),
    ("data", "h5py", "data import recording.hdf5"),
    ("encoders", "transformers", "train wall --encoder dinov2 --data.num-episodes 2"),
    ("hub", "huggingface_hub", "eval jepa_wm_pusht"),
    ("loggers", "tensorboard", "train wall --log tensorboard"),
    ("loggers", "trackio", "train wall --log trackio"),
    ("loggers", "wandb", "train wall --log wandb"),
    ("metaworld", "metaworld", "eval metaworld_reach"),
    ("metaworld", "mujoco", "eval metaworld_reach"),
    ("mujoco", "mujoco", "eval pointmaze"),
    ("nevergrad", "nevergrad", "eval wall --planner nevergrad --episodes 1"),
    ("ogbench", "ogbench", "collect ogbench:cube-single-v0 --policy wall"),
    ("pusht", "pymunk", "eval pusht"),
    ("timm", "timm", "train wall --encoder timm:vit_tiny --data.num-episodes 2"),
]
"""Extra, a package of it, and what needs it."""


@pytest.mark.parametrize(("extra", "package", "words"), EXTRAS)
def test_a_missing_extra_is_named_with_its_install_command(
    extra: str, package: str, words: str, tmp_path: Path
):
    if extra == "metaworld" and package == "metaworld":
        pytest.importorskip("mujoco")  # which is asked for first
    (tmp_path / "sitecustomize.py").write_text(ABSENT.format(package=package))
    (tmp_path / "recording.hdf5").touch()
    videos = tmp_path / "videos"
    videos.mkdir()
    (videos / "0.mp4").touch()
    (videos / "0.csv").write_text("action_0\n0.5\n0.5\n")
    done = subprocess.run(
        [sys.executable, "-m", "jepawm", *words.split(), "--out", "out"],
        cwd=tmp_path,
        env=os.environ
        | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *filter(None, sys.path)])}
        | {"HF_HOME": str(tmp_path / "hub"), "JEPAWM_DATA": str(tmp_path / "data")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert f"pip install 'jepawm[{extra}]'" in done.stderr, done.stderr
    assert f"needs {package}, which is not installed" in done.stderr
    assert done.returncode == 2


ELSEWHERE = {
    "efficientnet": "tests/models/frozen/test_timm_encoders.py",  # needs timm first
    "lewm": "tests/envs/gymnasium/test_lewm.py",  # the package of its environments is large
    "minari": "tests/data/formats/test_minari_write.py",
    "play": "tests/runs/play/test_server.py",  # the page takes no --out
    "pretrain": "tests/training/pretraining/test_dino.py",
    "rerun": "tests/runs/test_imagine.py",  # needs a run with a decoder
    "serve": "tests/runs/serve/test_server.py",  # it takes no --out
    "sweep": "tests/study/test_executors.py",
    "zarr": "tests/data/formats/test_replay_buffer.py",
}
"""Extras whose messages are tested elsewhere: what needs them needs more before."""


def test_every_extra_is_in_the_table():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = set(project["optional-dependencies"]) - {"dev"}
    assert extras == {extra for extra, _, _ in EXTRAS} | ELSEWHERE.keys()
    for extra, file in ELSEWHERE.items():
        assert extra in (ROOT / file).read_text(encoding="utf-8")


@pytest.mark.slow
def test_first_minutes_without_extras(tmp_path: Path):
    """Install what a stranger installs, outside of the tree, and do what the README shows."""
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    python = str(tmp_path / "venv" / "bin" / "python")
    program = str(tmp_path / "venv" / "bin" / "jepawm")
    constraint = ("--constraint", str(ROOT / "constraints" / "cpu.txt"))
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def run(*words: str) -> str:
        done = subprocess.run(
            words, cwd=tmp_path, env=clean, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, (words, done.stderr)
        return done.stdout

    run(python, "-m", "pip", "install", "--quiet", *constraint, str(ROOT))
    assert "wall" in run(program, "list")
    assert "eval" in run(program, "--help")
    run(program, "eval", "wall", "--episodes", "8", "--out", "out")
    assert (tmp_path / "out" / "results.json").is_file()
    assert "goal reached" in run(python, str(ROOT / "examples" / "06_act_in_your_own_loop.py"))
    names = f"import jepawm; [getattr(jepawm, name) for name in {jepawm.__all__!r}]"
    run(python, "-c", f"{names}; assert {str(ROOT)!r} not in jepawm.__file__")
