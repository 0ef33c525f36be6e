"""Write a package with a part of each kind, and run the command line beside it, for the tests."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

import jepawm

NAMES = {
    "collection_policy": ("own_room", "Wander"),
    "data_format": ("own_text", "TEXT"),
    "encoder": ("own_net", "OwnNet"),
    "environment": ("own_room", "Room"),
    "export_format": ("own_text", "write_text"),
    "objective": ("own_cost", "LastDistance"),
    "planner": ("own_search", "Shooting"),
    "recipe": ("own_recipe", "RECIPE"),
}
"""Name and target of a part of each kind."""

SOURCE = Path(__file__).with_name("own_parts.py")
"""The module that holds the parts; tests copy it under another name."""


def write_package(folder: Path, *, module: str) -> Path:
    """Write a package that declares every part as an entry point, and another environment."""
    groups = [
        f'[project.entry-points."jepawm.{kind}"]\n{name} = "{module}:{target}"\n'
        + (f'own_simulator = "{module}:ExactRoom"\n' if kind == "environment" else "")
        for kind, (name, target) in NAMES.items()
    ]
    folder.mkdir()
    (folder / f"{module}.py").write_text(SOURCE.read_text())
    (folder / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'
        f'[project]\nname = "{module}"\nversion = "1.0"\n'
        f'[tool.setuptools]\npy-modules = ["{module}"]\n' + "".join(groups)
    )
    return folder


def install(package: Path, env: Path) -> Path:
    """Install a package into a new environment that sees what the tests see; returns its Python."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", env], check=True)
    python = env / "bin" / "python"
    home = str(Path(jepawm.__file__).parents[1])
    site = next((env / "lib").glob("python*/site-packages"))
    (site / "seen.pth").write_text("\n".join([home, *filter(None, sys.path)]))
    words = ["--no-deps", "--no-build-isolation", "--no-index", "--quiet", str(package)]
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(python)]
    done = subprocess.run([*pip, "install", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return python


def run(folder: Path, *words: str, python: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run Python in `folder`: that of an environment, else the tests' own."""
    seen = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))} if python is None else {}
    kept = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return subprocess.run(
        [python or sys.executable, *words],
        cwd=folder,
        env=kept | seen,
        capture_output=True,
        text=True,
        check=False,
    )


def write_rows(folder: Path) -> list[np.ndarray]:
    """Write a data set in the package's own format; returns what each episode holds."""
    rows = np.column_stack([np.arange(6), np.linspace(-1, 1, 6), np.linspace(1, 0, 6)])
    folder.mkdir()
    for episode in range(2):
        np.savetxt(folder / f"{episode:03d}.room.txt", rows + episode)
    return [rows, rows + 1]
