"""What is published: wheel and sdist are built, hold what they need, and work in another environment.

The other environment is new and outside the tree. Its dependencies are those of the tests' own: what is
tested is what the files of the distribution hold.
"""

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

import jepawm

ROOT = Path(__file__).parents[1]
BUNDLED = ("metaworld_reach", "pointmaze", "pusht", "wall")
SOURCES = ("pyproject.toml", "README.md", "LICENSE", "src")
BUILD = "from setuptools import build_meta as b; b.build_{kind}({out!r})"

pytestmark = pytest.mark.slow


def run(*command: object, cwd: Path, **more: str) -> str:
    left = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=left | more,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def built(tree: Path, kind: str, out: Path) -> Path:
    """Build one distribution of a source tree by its build backend."""
    out.mkdir(exist_ok=True)
    run(sys.executable, "-c", BUILD.format(kind=kind, out=str(out)), cwd=tree)
    return next(out.iterdir())


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Build the sdist of this tree, and the wheel of the sdist, as a release does."""
    # Not imported: that fails where a test before this one has imported distutils.
    found = importlib.metadata.version("setuptools") if find_spec("setuptools") else "0"
    if int(found.partition(".")[0]) < 77:
        pytest.skip("building needs setuptools 77 or newer")
    place = tmp_path_factory.mktemp("release")
    tree = place / "tree"
    tree.mkdir()
    for name in SOURCES:
        source = ROOT / name
        if source.is_dir():
            drop = shutil.ignore_patterns("__pycache__", "*.egg-info")
            shutil.copytree(source, tree / name, ignore=drop)
        else:
            shutil.copyfile(source, tree / name)
    sdist = built(tree, "sdist", place / "sdist")
    with tarfile.open(sdist) as archive:
        archive.extractall(place / "unpacked", filter="data")
    unpacked = next((place / "unpacked").iterdir())
    return {"sdist": sdist, "wheel": built(unpacked, "wheel", place / "wheel")}


@pytest.fixture(scope="module")
def python(dist: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel into a new environment; returns its interpreter."""
    place = tmp_path_factory.mktemp("elsewhere") / "env"
    venv.create(place, with_pip=True)
    found = place / "bin" / "python"
    run(found, "-m", "pip", "install", "-q", "--no-deps", "--no-index", dist["wheel"], cwd=place)
    own = Path(
        run(
            found, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=place
        ).strip()
    )
    (own / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return found


def test_the_wheel_holds_what_it_needs_and_nothing_else(dist: dict[str, Path]):
    with zipfile.ZipFile(dist["wheel"]) as archive:
        names = set(archive.namelist())
    assert "jepawm/py.typed" in names
    for name in BUNDLED:
        assert {
            f"jepawm/hub/checkpoints/{name}/{file}" for file in ("config.json", "model.safetensors")
        } <= names
    ours = {
        str(path.relative_to(ROOT / "src"))
        for path in (ROOT / "src" / "jepawm").rglob("*")
        if path.is_file()
    }
    expected = {name for name in ours if "__pycache__" not in name}
    found = {name for name in names if ".dist-info/" not in name}
    assert found == expected
    assert any(name.endswith("LICENSE") for name in names)
    assert dist["wheel"].name == f"jepawm-{jepawm.__version__}-py3-none-any.whl"


def test_its_size_is_the_reported_one(dist: dict[str, Path]):
    megabytes = dist["wheel"].stat().st_size / 1e6
    page = (ROOT / "docs" / "release.md").read_text(encoding="utf-8")
    reported = re.search(r"(\d+) MB", page)
    assert reported is not None
    assert abs(int(reported[1]) - megabytes) < 1.5
    assert abs(dist["sdist"].stat().st_size / 1e6 - megabytes) < 2


def test_example_06_and_an_evaluation_work_from_the_wheel(python: Path, tmp_path: Path):
    where = run(python, "-c", "import jepawm; print(jepawm.__file__)", cwd=tmp_path)
    assert str(python.parents[1]) in where
    example = tmp_path / "06_act_in_your_own_loop.py"
    shutil.copyfile(ROOT / "examples" / example.name, example)
    assert "goal reached" in run(python, example, cwd=tmp_path)
    verb = python.with_name("jepawm")
    data = {"JEPAWM_DATA": str(tmp_path / "data")}
    told = run(verb, "eval", "wall", "--episodes", 8, "--out", "out", cwd=tmp_path, **data)
    assert "oracle" in told
    assert (tmp_path / "out" / "results.json").is_file()
    assert importlib.metadata.version("jepawm")  # the tests' own install stays as it was


def test_types_are_seen_by_others(python: Path, tmp_path: Path):
    """A type checker reads the installed package because of py.typed."""
    (tmp_path / "use.py").write_text('import jepawm\n\nname: int = jepawm.load("wall").name\n')
    settings = f'{{"venvPath": "{python.parents[2]}", "venv": "env"}}'
    (tmp_path / "pyrightconfig.json").write_text(settings)
    done = subprocess.run(
        [sys.executable, "-m", "pyright", "use.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert '"str" is not assignable to "int"' in done.stdout, done.stdout
