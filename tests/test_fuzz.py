"""The search by mutated files: sorts outcomes rightly, and finds nothing in a short run."""

import json
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
SECONDS = 90


@pytest.fixture
def mutate(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from fuzz_containers import mutate  # pyright: ignore[reportMissingImports]
    from fuzz_mutations import Ground  # pyright: ignore[reportMissingImports]

    def change(path: Path, seed: int) -> str:
        secret = path.parents[1] / "secret"
        secret.mkdir(exist_ok=True)
        (secret / "secret.txt").write_text("secret")
        return mutate(path, Ground(random=random.Random(seed), source=path.parent, secret=secret))

    return change


@pytest.mark.parametrize("name", ["a.json", "a.jsonl", "a.npz", "a.csv", "a.txt"])
def test_the_same_seed_changes_a_file_alike(mutate, tmp_path: Path, name: str):
    contents = []
    for copy in ("one", "two"):
        path = tmp_path / copy / "set" / name
        path.parent.mkdir(parents=True)
        if name.endswith(".npz"):
            np.savez(path, a=np.arange(6.0).reshape(2, 3))
        else:
            path.write_text("x,y\n1,2\n" if name.endswith(".csv") else '{"a": [1, {"b": "c"}]}\n')
        before = path.read_bytes()
        seed = next(
            seed
            for seed in range(100)
            if mutate(path, seed) and path.is_file() and path.read_bytes() != before
        )
        contents.append((seed, path.read_bytes()))
    assert contents[0] == contents[1]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="watches files by inotify")
def test_a_short_search_finds_nothing(tmp_path: Path):
    words = ["--seconds", str(SECONDS), "--seed", "7", "--keep", str(tmp_path / "found")]
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / "fuzz.py"), *words],
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"kind"')]
    assert done.returncode == 0, done.stderr[-2000:] + json.dumps(found, indent=1)
