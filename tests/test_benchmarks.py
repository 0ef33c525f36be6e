"""Import every benchmark as its command would, so that none of them outlives what it imports."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
FOREIGN = {"side_stable_worldmodel.py", "side_torch_world.py", "same_results.py"}
"""Scripts that import packages of the peers, which live in environments of their own."""
PARTS = {"check": 3, "tests": 1, "plan": 4, "peer": 2, "training": 3}
"""Rows of each part of the GPU script with tiny sizes."""
SCRIPTS = [path for path in sorted(BENCHMARKS.rglob("*.py")) if path.name not in FOREIGN]


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: str(path.relative_to(BENCHMARKS)))
def test_benchmark_imports(path: Path, monkeypatch: pytest.MonkeyPatch):
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(path.parent))
    spec = importlib.util.spec_from_file_location(f"benchmark_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)  # where dataclasses look for their module
    try:
        spec.loader.exec_module(module)  # the name is not __main__, so that nothing is measured
    finally:
        siblings = {other.stem for other in path.parent.glob("*.py")}
        for name in (set(sys.modules) - before) & siblings:  # not for the tests that follow
            del sys.modules[name]


def test_excluded_scripts_exist():
    assert {path.name for path in BENCHMARKS.rglob("*.py")} >= FOREIGN


@pytest.mark.slow
def test_the_gpu_script_measures_every_part_on_a_cpu(tmp_path: Path):
    """With tiny sizes; the peer is left out, it lives in an environment of its own."""
    results = tmp_path / "gpu.jsonl"
    done = subprocess.run(
        [str(BENCHMARKS / "gpu.sh"), "--tiny", "--results", str(results)],
        env={**os.environ, "PYTHON": sys.executable},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [json.loads(line) for line in results.read_text(encoding="utf-8").splitlines()]
    assert not [row for row in rows if "error" in row]
    counts = {part: sum(row["section"] == part for row in rows) for part in PARTS}
    assert counts == PARTS
    plans = [row for row in rows if row["section"] == "plan"]
    assert {row["compile"] for row in plans} == {"off", "reduce-overhead"}
    for row in plans:
        assert row["floor_seconds"] == row["gflop"] / row["peak_gflop_per_second"]
    for row in rows:
        assert row["machine"]
        assert row["torch"]
        assert row["command"] == "benchmarks/gpu.sh --tiny"


def test_a_failing_check_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.syspath_prepend(str(BENCHMARKS / "gpu"))
    rows = importlib.import_module("rows")
    scale = importlib.import_module("scale")
    try:
        run = rows.Run(
            scale=scale.TINY,
            device="cpu",
            tiny=True,
            results=tmp_path / "gpu.jsonl",
            logs=tmp_path,
            common={"commit": "none"},
        )
        run.row("check", check="layouts", passed=False)
        run.guard("plan", lambda: 1 / 0)
        run.guard("peer", lambda: run.row("peer", side="jepawm"))
    finally:
        for name in ("rows", "scale", "child"):
            sys.modules.pop(name, None)
    written = [json.loads(line) for line in run.results.read_text(encoding="utf-8").splitlines()]
    assert [row["section"] for row in written] == ["check", "plan", "peer"]
    assert "ZeroDivisionError" in written[1]["error"]
    assert run.num_failed == 2
