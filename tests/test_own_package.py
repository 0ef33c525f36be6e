"""A package with a part of each kind, installed by pip: the command line knows and uses them all."""

import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from own_package import NAMES, install, run, write_package, write_rows

pytestmark = pytest.mark.skipif(
    None in (find_spec("pip"), find_spec("setuptools")),
    reason="packages are built by setuptools and installed by pip",
)

LISTS = {
    "collection_policy": "collection_policies",
    "data_format": "data_formats",
    "encoder": "encoders",
    "environment": "environments",
    "export_format": "export_formats",
    "objective": "objectives",
    "planner": "planners",
    "recipe": "recipes",
}
RESOLVE = """
from jepawm.data.exporting import EXPORTERS
from jepawm.data.formats import FORMATS
from jepawm.envs import ENVIRONMENTS, POLICIES
from jepawm.models import ENCODERS
from jepawm.planning import OBJECTIVES, PLANNERS
from jepawm.recipes import RECIPES
for one in (EXPORTERS, FORMATS, ENVIRONMENTS, POLICIES, ENCODERS, OBJECTIVES, PLANNERS, RECIPES):
    for name in one.names():
        if name.startswith("own_"):
            one.get(name)
            print(one.kind, name)
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the Python of an environment in which the package is installed."""
    folder = tmp_path_factory.mktemp("own")
    return install(write_package(folder / "package", module="own_installed"), folder / "env")


def jepawm(python: Path, folder: Path, words: str, *, device: bool = True) -> str:
    here = ["--device", "cpu"] if device else []
    done = run(folder, "-m", "jepawm", *words.split(), *here, python=python)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_package_can_declare_a_part_of_every_kind(python: Path, tmp_path: Path):
    found = run(tmp_path, "-c", RESOLVE, python=python)
    assert found.returncode == 0, found.stderr
    expected = {f"{kind} {name}" for kind, (name, _) in NAMES.items()}
    assert set(found.stdout.splitlines()) == expected | {"environment own_simulator"}
    listed = json.loads(jepawm(python, tmp_path, "list --json", device=False))
    for kind, (name, _) in NAMES.items():
        assert name in listed[LISTS[kind]], kind


@pytest.mark.slow
def test_the_command_line_trains_plans_and_evaluates_with_them(python: Path, tmp_path: Path):
    jepawm(python, tmp_path, "train own_recipe --out run --data-root data")
    planned = json.loads(jepawm(python, tmp_path, "plan run --out planned --json"))
    assert planned["final_distance"] is None  # no states, no distance
    assert (tmp_path / "planned" / "plan.gif").is_file()
    report = (tmp_path / "planned" / "report.html").read_text()
    assert "The environment is not a simulator" in report
    found = json.loads(jepawm(python, tmp_path, "eval run --episodes 2 --out result --json"))
    assert set(found["baselines"]) == {"do_nothing", "random"}
    assert (found["planner"]["type"], found["objective"]["type"]) == ("Shooting", "LastDistance")
    jepawm(python, tmp_path, "train own_recipe --env own_simulator --out exact --data-root data")
    found = json.loads(jepawm(python, tmp_path, "eval exact --episodes 2 --out result2 --json"))
    assert set(found["baselines"]) == {"do_nothing", "random", "oracle"}


def test_the_command_line_imports_and_exports_with_them(python: Path, tmp_path: Path):
    rows = write_rows(tmp_path / "source")
    jepawm(python, tmp_path, "data import source --out store --image-size 8", device=False)
    jepawm(python, tmp_path, "data export store --format own_text --out again", device=False)
    for episode, before in enumerate(rows):
        again = np.loadtxt(tmp_path / "again" / f"{episode:03d}.room.txt")
        np.testing.assert_allclose(again, before, atol=1e-6)
