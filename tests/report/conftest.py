"""A run directory as `jepawm train wall` leaves it, and a parser for the page."""

import json
import math
from collections.abc import Callable, Mapping
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from jepawm.metrics_log import METRICS, MetricsLog
from jepawm.report import write_report

VOID = {"meta", "img", "input", "link", "br", "hr"}
NUM_TASKS, NUM_STEPS, SIDE = 3, 30, 64
SCALE = SIDE / 65


class Page(HTMLParser):
    """Collect elements and complain about those not closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.data = ""
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.elements[-1:] and self.elements[-1][1].get("type") == "application/json":
            self.data += data
        elif not self.open or self.open[-1] not in {"script", "style"}:
            self.text.append(data)


def wall_frame(place: np.ndarray) -> np.ndarray:
    """Draw a dot and a wall with a door, `[3, SIDE, SIDE]` uint8."""
    y, x = np.mgrid[:SIDE, :SIDE] / SCALE
    dot = np.exp(-((x - place[0]) ** 2 + (y - place[1]) ** 2) / (2 * 1.7**2))
    rest = 255 - (255 * dot / dot.max()).astype(np.uint8)
    frame = np.stack([np.full_like(rest, 255), rest, rest])
    walls = (
        (abs(x - 32) <= 3) & (abs(y - 30) > 4) | (np.minimum(x, y) < 5) | (np.maximum(x, y) > 60)
    )
    frame[:, walls & (dot < 0.05)] = 0
    return frame


def rollout_arrays(*, num_tasks: int = NUM_TASKS) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)
    starts = generator.uniform((8, 10), (25, 55), (num_tasks, 2))
    goals = generator.uniform((39, 10), (56, 55), (num_tasks, 2))
    door = np.array([32.0, 30.0])
    t = np.linspace(0, 1, NUM_STEPS + 1)[:, None]
    states = np.stack(
        [
            np.where(t < 0.5, s + (door - s) * 2 * t, door + (g - door) * (2 * t - 1))
            for s, g in zip(starts, goals, strict=True)
        ]
    )
    success = np.arange(num_tasks) % 3 != 2
    states[~success, 15:] = states[~success, 15:16]
    imagined = states[:, ::5] + generator.normal(0, 1.0, (num_tasks, 7, 2))
    frames = np.stack([[wall_frame(place) for place in one] for one in states])
    cost = np.exp(-np.arange(30)[:, None] / (4 + np.arange(num_tasks))) + 0.02
    return {
        "frames": frames,
        "states": states,
        "goal_frames": np.stack([wall_frame(goal) for goal in goals]),
        "goal_states": goals,
        "imagined_states": imagined,
        "success": success,
        "cost_history": cost,
        "frameskip": np.array(5),
    }


def results_object() -> dict[str, object]:
    return {
        "env": "wall",
        "protocol": "paper",
        "episodes": 96,
        "seed": 7,
        "tasks_sha256": "0" * 64,
        "success": 0.9375,
        "ci95": [0.8701, 0.9711],
        "baselines": {"do_nothing": 0.0, "random": 0.0417, "oracle": 0.9271},
        "baselines_ci95": {
            "do_nothing": [0.0, 0.0385],
            "random": [0.0163, 0.1023],
            "oracle": [0.8571, 0.9643],
        },
        "planner": {"type": "CEM"},
        "seconds_per_plan": 0.123,
        "state_to_pixel": SCALE,
        "versions": {"torch": "2.13.0"},
    }


def write_run(
    folder: Path,
    *,
    results: Mapping[str, object] | None = None,
    arrays: Mapping[str, np.ndarray] | None = None,
) -> Path:
    """Write a run directory; `results` and `arrays` are changes to the usual content."""
    folder.mkdir(parents=True, exist_ok=True)
    experiment = {"recipe": "wall", "seed": 3, "commit": "abc1234", "versions": {"numpy": "2.4"}}
    (folder / "experiment.json").write_text(json.dumps(experiment))
    (folder / "results.json").write_text(json.dumps(results_object() | dict(results or {})))
    content = rollout_arrays() | dict(arrays or {})
    np.savez(folder / "rollouts.npz", **content)  # pyright: ignore[reportArgumentType]
    generator = np.random.default_rng(1)
    with MetricsLog(folder / "metrics.jsonl") as log:
        for step in range(10, 4001, 10):
            decay, noise = math.exp(-step / 700), generator.normal(1, 0.05)
            row: dict[str, float] = {}
            for number, metric in enumerate(METRICS, start=1):
                if metric.key.startswith("train/") or step % 200 == 0:
                    keys = [metric.key.format(k=k) for k in range(1, 7)]  # one where there is no k
                    row |= dict.fromkeys(keys, (decay + 0.01 * number) * noise)
            log.append(step, row, seconds=step * 0.06)
    return folder


@pytest.fixture(scope="session")
def make_run() -> Callable[..., Path]:
    """Return `write_run(folder, results=..., arrays=...)`."""
    return write_run


@pytest.fixture(scope="session")
def make_arrays() -> Callable[..., dict[str, np.ndarray]]:
    """Return `rollout_arrays(num_tasks=...)`."""
    return rollout_arrays


@pytest.fixture(scope="session")
def parse_page() -> type[Page]:
    """Return the parser: `.elements`, `.text`, and `.data`, the JSON in the page."""
    return Page


@pytest.fixture
def arrays() -> dict[str, np.ndarray]:
    """Return the arrays of `rollouts.npz` in the usual run."""
    return rollout_arrays()


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a complete run directory; do not change it."""
    return write_run(tmp_path_factory.mktemp("report") / "run")


@pytest.fixture(scope="session")
def html(run: Path) -> str:
    """Return the report of the complete run."""
    return write_report(run).read_text(encoding="utf-8")


@pytest.fixture
def page(html: str) -> Page:
    """Return the parsed report of the complete run."""
    return Page(html)
