"""A fresh environment without extras does what the README shows, and missing extras are named."""

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import jepawm

ROOT = Path(__file__).parents[1]
WORKER = Path(__file__).with_name("first_minutes_worker.py")
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


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, str]]:
    """Return exit code and words of each command, run where its package is absent."""
    root = tmp_path_factory.mktemp("first_minutes")
    cases = []
    for extra, package, words in EXTRAS:
        folder = root / f"{extra}-{package}"
        (folder / "videos").mkdir(parents=True)
        (folder / "recording.hdf5").touch()
        (folder / "videos" / "0.mp4").touch()
        (folder / "videos" / "0.csv").write_text("action_0\n0.5\n0.5\n")
        command = [*words.split(), "--out", "out"]
        cases.append({"package": package, "words": command, "folder": str(folder)})
    (root / "cases.json").write_text(json.dumps(cases))
    subprocess.run(
        [sys.executable, str(WORKER), str(root / "cases.json"), str(root / "codes.json")],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        check=True,
    )
    codes = json.loads((root / "codes.json").read_text())
    return {
        f"{extra}-{package}": (code, (root / f"{extra}-{package}" / "err").read_text())
        for (extra, package, _), code in zip(EXTRAS, codes, strict=True)
    }


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes cannot be forked here")
@pytest.mark.parametrize(("extra", "package", "words"), EXTRAS)
def test_a_missing_extra_is_named_with_its_install_command(
    extra: str, package: str, words: str, told: dict[str, tuple[int, str]]
):
    if extra == "metaworld" and package == "metaworld":
        pytest.importorskip("mujoco")  # which is asked for first
    code, said = told[f"{extra}-{package}"]
    assert f"pip install 'jepawm[{extra}]'" in said, said
    assert f"needs {package}, which is not installed" in said
    assert code == 2


ELSEWHERE = {
    "efficientnet": "tests/models/frozen/test_timm_encoders.py",  # needs timm first
    "lewm": "tests/envs/gymnasium/test_lewm.py",  # the package of its environments is large
    "minari": "tests/data/formats/test_minari_write.py",
    "play": "tests/runs/play/test_server.py",  # the page takes no --out
    "pretrain": "tests/training/pretraining/test_dino.py",
    "rerun": "tests/runs/test_imagine.py",  # needs a run with a decoder
    "serve": "tests/runs/serve/test_server.py",  # it takes no --out
    "sweep": "tests/study/test_executors.py",
    "text": "tests/models/test_text.py",  # its weights are 90 MB, few have them
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
