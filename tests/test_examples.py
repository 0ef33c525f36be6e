"""Run every example as a user would."""

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("[0-9]*.py"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_example_reaches_its_goal(path: Path, tmp_path: Path):
    done = subprocess.run(
        [sys.executable, str(path)], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 0, done.stderr  # each asserts that it reached its goal
    assert "defined in this script" not in done.stderr  # its runs load elsewhere too


def test_loop_of_one_s_own_is_short():
    page = (EXAMPLES[0].parent / "06_act_in_your_own_loop.py").read_text(encoding="utf-8")
    code = page.split('"""')[2].split("print(")[0]
    assert len([line for line in code.splitlines() if line.strip()]) <= 15


@pytest.mark.parametrize(
    "path", sorted(EXAMPLES[0].parent.glob("*.py")), ids=lambda path: path.name
)
def test_example_is_short(path: Path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 60
