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


def test_a_step_on_many_gpus_by_hand(monkeypatch: pytest.MonkeyPatch):
    """Gradients of 4 GB, 2 machines of 4 GPUs: 6 GB inside at 3 GB/s, 1 GB between at 0.5 GB/s."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    module = importlib.import_module("scaling")
    network = module.Network(name="", gpus_per_node=4, inside=3e9, between=0.5e9)
    assert network.seconds(4_000_000_000, 8) == pytest.approx(2.0 + 2.0)
    assert network.seconds(4_000_000_000, 2) == pytest.approx(4.0 / 3)
    single = module.Single(
        recipe="",
        precision="",
        seconds_per_window=0.25,
        batch_size=64,
        gflop=800.0,
        fixed=20_000,
        sharded=16_000,
        per_window=10.0,
        parameters=1_000_000_000,
        frames=4,
        frame_bytes={"pixels": 100},
        validation_windows=12,
        validate_every=10,
    )
    step = module.step_on(single, 8, network=network)
    assert (step.windows, step.gflop, step.compute_seconds) == (8, 100, 2)
    assert (step.memory_ddp, step.memory_fsdp2) == (20_080, 4_000 + 2_000 + 80)
    assert step.network_bytes == 7e9
    assert step.seconds == pytest.approx(2 + (4 - 1))  # half of the compute hides 1 s
    assert step.validation_seconds == pytest.approx(0.1)
    assert step.efficiency == pytest.approx(2 / 5.1)
    assert step.read_per_second == {"pixels": pytest.approx(100 * 4 * 8 / 5)}
    alone = module.step_on(single, 1, network=network)
    assert (alone.seconds, alone.network_bytes, alone.memory_fsdp2) == (16, 0, 20_640)
    for name in ("scaling", "tasks"):  # not for the tests that follow
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
