"""Import every benchmark as its command would, so that none of them outlives what it imports."""

import importlib.util
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
FOREIGN = {"side_stable_worldmodel.py", "side_torch_world.py", "same_results.py"}
"""Scripts that import packages of the peers, which live in environments of their own."""
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
