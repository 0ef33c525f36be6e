"""The golden files that come with the repository, run by the command that README names."""

import json
from pathlib import Path

import pytest

from jepawm.cli import main

CASES = Path(__file__).with_name("cases")
KINDS = ("wall_dynamics", "wall_frames", "predictor_", "rope_attention", "unroll_", "training_loss", "cem_")  # fmt: skip


def test_every_case_is_reproduced(capsys: pytest.CaptureFixture[str]):
    pytest.importorskip("mujoco", reason="PointMaze needs the extra 'mujoco'")
    pytest.importorskip("pymunk", reason="Push-T needs the extra 'pusht' (pymunk)")
    assert main(["check", "golden", str(CASES), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    files = sorted(path.stem for path in CASES.glob("*.npz"))
    assert sorted(case["name"] for case in result["cases"]) == files
    assert result["counts"]["passed"] == len(files)


def test_cases_cover_what_the_readme_names_in_at_most_3_mb():
    files = list(CASES.glob("*.npz"))
    for kind in KINDS:
        assert any(path.name.startswith(kind) for path in files), kind
    assert sum(path.stat().st_size for path in files) <= 3_000_000
