"""The reading paths of docs/architecture.md: short, connected, and all that runs is on them."""

import ast
import re
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import jepawm
from jepawm.build import build_model, build_windows
from jepawm.data.checking import Requirements
from jepawm.data.exporting import ExportOptions, export_store
from jepawm.data.formats import get_format
from jepawm.data.importing import ImportOptions, import_source
from jepawm.data.recording import ReadOptions
from jepawm.data.windows import Windows
from jepawm.planning.cem import CEM
from jepawm.recipes.wall import WALL
from jepawm.runs.datasets import find_or_collect
from jepawm.training.losses import Learner

SOURCE = Path(jepawm.__file__).parent
DOCS = Path(__file__).parents[1] / "docs" / "architecture.md"
ACT, LOSS, WINDOW = "Observation → act → cost", "Recipe → loss", "LeRobot folder → window"
MOST_FILES = {ACT: 9, LOSS: 14, WINDOW: 12}
MOST_LINES = 800
VOCABULARY = {path.name for path in SOURCE.glob("*.py")} - {"agent.py", "door.py", "experiment.py"}
"""Files of the ground floor: words that every path uses. A planning step lists even those that run."""


def listed(name: str) -> list[str]:
    """Return the files of a path, as the page lists them."""
    section = DOCS.read_text(encoding="utf-8").split(f"**{name}**", 1)[1].split("\n\n", 2)[1]
    return re.findall(r"^\d+\. `([\w/]+\.py)`", section, flags=re.MULTILINE)


def lines_of_code(path: Path) -> int:
    """Count lines that are no import, docstring, comment or blank."""
    text = path.read_text(encoding="utf-8")
    apart: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        is_text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if is_text or isinstance(node, ast.Import | ast.ImportFrom):
            assert node.end_lineno is not None
            apart |= set(range(node.lineno, node.end_lineno + 1))
    return sum(
        bool(line.strip()) and not line.strip().startswith("#") and number not in apart
        for number, line in enumerate(text.splitlines(), start=1)
    )


def module_of(file: str) -> str:
    return "jepawm." + file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def files_that_run(action: Callable[[], object]) -> set[str]:
    """Return the files of the library of which a function runs, speed apart."""
    found: set[str] = set()

    def note(frame, event, argument):
        path = Path(frame.f_code.co_filename)
        if path.is_relative_to(SOURCE) and frame.f_code.co_name != "<module>":
            found.add(path.relative_to(SOURCE).as_posix())

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        action()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    return {file for file in found if not file.startswith("engine/")}


@pytest.mark.parametrize("name", MOST_FILES)
def test_paths_are_short_and_connected(name: str):
    files = listed(name)
    assert 1 < len(files) <= MOST_FILES[name]
    assert len(set(files)) == len(files)
    assert not any(file.startswith("engine/") for file in files)
    before = [(SOURCE / files[0]).read_text(encoding="utf-8")]
    for number, file in enumerate(files[1:], start=1):
        text = (SOURCE / file).read_text(encoding="utf-8")
        named = any(re.search(rf"\b{module_of(file)}\b", one) for one in before)
        names = any(re.search(rf"\b{module_of(one)} import", text) for one in files[:number])
        assert named or names, f"{file}: nothing leads to it from the files before"
        before.append(text)


def test_the_path_of_a_planning_step_is_short():
    assert sum(lines_of_code(SOURCE / file) for file in listed(ACT)) <= MOST_LINES


def test_a_planning_step_runs_what_is_listed():
    loaded = jepawm.load("wall")
    env = loaded.make_env()
    obs = env.reset(env.sample_tasks(0, num_tasks=1))
    agent = loaded.agent(planner=CEM(num_samples=8, num_elites=2, num_iterations=2))

    def step() -> None:
        agent.reset(env.goal_observation(), 6)
        agent.act(obs)

    env.goal_observation()
    ran = {file for file in files_that_run(step) if not file.startswith("envs/")}
    assert ran <= {*listed(ACT), *listed(LOSS)}  # the network is on the second path
    assert set(listed(ACT)) <= ran


def test_a_loss_runs_what_is_listed(tmp_path: Path):
    experiment = replace(WALL, data=replace(WALL.data, num_episodes=12, episode_steps=30))
    store = find_or_collect(experiment.env, experiment.data, data_root=tmp_path)
    windows, _ = build_windows(experiment, store)
    batch = windows.batch(torch.arange(4))
    dims = {"action_dim": windows.normalizer.action_dim, "proprio_dim": 2}
    learner = Learner(build_model(experiment, **dims), experiment.loss)
    ran = files_that_run(lambda: learner(batch, generator=torch.Generator().manual_seed(0)))
    assert ran - VOCABULARY <= set(listed(LOSS))


def test_a_lerobot_folder_becomes_windows_by_what_is_listed(tmp_path: Path):
    data = replace(WALL.data, num_episodes=3, episode_steps=30)
    collected = find_or_collect(WALL.env, data, data_root=tmp_path)
    folder, options = tmp_path / "lerobot", ReadOptions()
    export_store(collected, folder, format_name="lerobot", options=ExportOptions(fps=10.0))

    def read() -> None:
        source = get_format("lerobot").open(folder, options)
        store = import_source(
            source,
            tmp_path / "store",
            options=ImportOptions(image_size=16),
            requirements=Requirements(),
            read_options=options,
        ).store
        normalizer = store.normalizer()
        windows = Windows(
            store, episodes=range(len(store)), num_steps=1, frameskip=1, normalizer=normalizer
        )
        assert np.isfinite(windows.batch(torch.arange(1)).actions).all()

    assert files_that_run(read) - VOCABULARY <= set(listed(WINDOW))
