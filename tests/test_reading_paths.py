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
    return {file for file, _ in functions_that_run(action) if not file.startswith("engine/")}


def functions_that_run(action: Callable[[], object]) -> set[tuple[str, int]]:
    """Return file and first line of the functions of the library that run."""
    found: set[tuple[str, int]] = set()

    def note(frame, event, argument):
        path = Path(frame.f_code.co_filename)
        if path.is_relative_to(SOURCE) and frame.f_code.co_name != "<module>":
            file = path.relative_to(SOURCE).as_posix()
            found.add((file, frame.f_code.co_firstlineno))

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        action()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    return found


def lines_to_read(file: str, starts: set[int]) -> int:
    """Count whole lines, docstrings included, of the functions that start there and of the fields of
    their classes, and of all classes without functions."""
    tree = ast.parse((SOURCE / file).read_text(encoding="utf-8"))
    lines: set[int] = set()

    def take(node: ast.stmt) -> None:
        assert node.end_lineno is not None
        lines.update(range(first_line(node), node.end_lineno + 1))

    for node in tree.body:
        parts = node.body if isinstance(node, ast.ClassDef) else [node]
        methods = [part for part in parts if isinstance(part, ast.FunctionDef)]
        run = [part for part in methods if first_line(part) in starts]
        for part in run:
            take(part)
        if isinstance(node, ast.ClassDef) and (run or not methods):
            lines.update(range(first_line(node), node.lineno + 1))
            for part in parts:
                if not isinstance(part, ast.FunctionDef):
                    take(part)
    return len(lines)


def first_line(node: ast.stmt) -> int:
    """Return the line of a definition's first decorator, or its own."""
    return min([node.lineno, *(one.lineno for one in getattr(node, "decorator_list", []))])


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


def planning_step() -> Callable[[], None]:
    """Return a function that takes goals and plans once."""
    loaded = jepawm.load("wall")
    env = loaded.make_env()
    obs, goal = env.reset(env.sample_tasks(0, num_tasks=1)), env.goal_observation()
    agent = loaded.agent(planner=CEM(num_samples=8, num_elites=2, num_iterations=2))

    def step() -> None:
        agent.reset(goal, 6)
        agent.act(obs)

    return step


def test_who_reads_a_planning_step_reads_few_lines():
    """Docstrings and all, of what runs: the path as it is walked, file by file."""
    ran = functions_that_run(planning_step())
    starts = {file: {line for one, line in ran if one == file} for file in listed(ACT)}
    assert sum(lines_to_read(file, starts[file]) for file in listed(ACT)) <= MOST_LINES


def test_a_planning_step_runs_what_is_listed():
    step = planning_step()
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
