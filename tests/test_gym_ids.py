"""Ids are registered whatever is imported first."""

import subprocess
import sys

import gymnasium
import pytest

from jepawm.gym_ids import register_ids


def test_registered_once():
    before = gymnasium.registry["jepawm/Wall-v0"]
    register_ids()
    assert gymnasium.registry["jepawm/Wall-v0"] is before


@pytest.mark.parametrize(
    "code",
    [
        "import gymnasium, jepawm",
        "import jepawm, gymnasium",
    ],
)
def test_the_order_of_imports_is_free_and_nothing_heavy_is_imported(code: str):
    check = (
        f"{code}; import sys; assert 'torch' not in sys.modules; "
        "assert 'jepawm/Wall-v0' in gymnasium.registry; "
        "assert gymnasium.spec('jepawm/PointMaze-v0').max_episode_steps == 100; "
        "import importlib.resources as r; assert r.files('gymnasium').joinpath('py.typed').is_file()"
    )
    subprocess.run([sys.executable, "-c", check], check=True)


def test_importing_the_package_alone_does_not_import_gymnasium():
    code = "import sys, jepawm; assert 'gymnasium' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_gymnasium_alone_finds_them():
    code = "import gymnasium; gymnasium.make('jepawm:jepawm/Wall-v0', image_size=16).reset(seed=0)"
    subprocess.run([sys.executable, "-c", code], check=True)
