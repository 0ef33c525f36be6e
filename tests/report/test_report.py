import base64
import io
import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jepawm.errors import UserError
from jepawm.metrics_log import MetricsLog
from jepawm.report import write_report
from jepawm.report.animation import path_fractions
from jepawm.report.charts import MAX_POINTS, Series, thin
from jepawm.report.metric_keys import METRICS, metric_group
from jepawm.report.picture import render_picture

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


def rollout_arrays(*, num_tasks: int = NUM_TASKS, side: int = SIDE) -> dict[str, np.ndarray]:
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
        "frames": frames[..., :side, :side],
        "states": states,
        "goal_frames": np.stack([wall_frame(goal) for goal in goals])[..., :side, :side],
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
        "planner": {"name": "cem"},
        "seconds_per_plan": 0.123,
        "state_to_pixel": SCALE,
        "versions": {"torch": "2.13.0"},
    }


def make_run(folder: Path) -> Path:
    """Write a run directory like one of `jepawm train wall`."""
    folder.mkdir(parents=True, exist_ok=True)
    experiment = {"recipe": "wall", "seed": 3, "commit": "abc1234", "versions": {"numpy": "2.4"}}
    (folder / "experiment.json").write_text(json.dumps(experiment))
    (folder / "results.json").write_text(json.dumps(results_object()))
    np.savez(folder / "rollouts.npz", **rollout_arrays())  # pyright: ignore[reportArgumentType]
    generator = np.random.default_rng(1)
    with MetricsLog(folder / "metrics.jsonl") as log:
        for step in range(10, 4001, 10):
            decay, noise = math.exp(-step / 700), generator.normal(1, 0.05)
            row = {
                "train/loss": (decay + 0.05) * noise,
                "train/prediction": (0.5 * decay + 0.02) * noise,
                "train/rollout": (0.8 * decay + 0.03) * noise,
                "train/sigreg": (3 * decay + 0.8) * noise,
                "train/inverse_dynamics": (0.9 * decay + 0.1) * noise,
                "train/learning_rate": 1e-3 * min(1, step / 400),
                "train/grad_norm": 1.5 * noise,
                "train/gflops_per_second": 40 * noise,
                "train/fraction_of_peak": 0.4 * noise,
            }
            if step % 200 == 0:
                row |= {f"val/prediction_k{k}": (decay + 0.01 * k) * noise for k in range(1, 7)}
                row |= {"val/effective_rank": 20 * (1 - decay), "val/latent_std": 0.95}
                row |= {"val/probe_error": 8 * decay + 0.6}
            log.append(step, row, seconds=step * 0.06)
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("report") / "run")


@pytest.fixture(scope="module")
def html(run: Path) -> str:
    return write_report(run).read_text(encoding="utf-8")


def test_success_table_has_every_row_and_interval(html):
    text = " ".join(Page(html).text)
    for number in ("93.8 %", "[87.0, 97.1]", "92.7 %", "[85.7, 96.4]", "4.2 %", "0.0 %"):
        assert number in text
    for paper in ("78.8 %", "± 3.9", "64.1 %"):
        assert paper in text


def test_header_says_where_the_run_comes_from(html):
    text = " ".join(Page(html).text)
    for fact in ("wall", "abc1234", "4,000 steps", "in 4.0 minutes", "0.123 s"):
        assert fact in text


def test_page_is_well_formed_with_unique_identifiers(html):
    page = Page(html)
    names = [attrs["id"] for _, attrs in page.elements if "id" in attrs]
    assert len(names) == len(set(names))
    links = [attrs["href"] or "" for tag, attrs in page.elements if tag == "a"]
    assert links
    assert {link.removeprefix("#") for link in links} <= set(names)


def test_one_card_per_task_with_its_outcome(html):
    cards = [attrs["class"] for tag, attrs in Page(html).elements if tag == "article"]
    assert cards == ["task reached", "task reached", "task missed"]


def test_every_metric_has_a_chart_with_its_explanation(html):
    text = " ".join(Page(html).text)
    for key, known in METRICS.items():
        assert key in text
        assert known.meaning in text


def test_nothing_is_loaded_from_the_network(html):
    page = Page(html)
    assert "http:" not in html
    assert "https:" not in html
    assert not [tag for tag, _ in page.elements if tag in {"link", "iframe", "object", "embed"}]
    assert not [attrs for tag, attrs in page.elements if tag == "script" and "src" in attrs]
    policy = next(
        attrs["content"] or ""
        for _, attrs in page.elements
        if attrs.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy.startswith("default-src 'none'")


def test_page_is_light(html):
    assert len(html.encode()) < 2_000_000


def test_page_with_large_frames_is_light_too(tmp_path):
    run = make_run(tmp_path / "run")
    arrays = rollout_arrays()
    arrays["frames"] = arrays["frames"].repeat(4, axis=-1).repeat(4, axis=-2)
    arrays["goal_frames"] = arrays["goal_frames"].repeat(4, axis=-1).repeat(4, axis=-2)
    np.savez(run / "rollouts.npz", **arrays)  # pyright: ignore[reportArgumentType]
    html = write_report(run).read_text()
    assert len(html) < 2_000_000
    assert json.loads(Page(html).data)["tasks"][0]["frame"] == [128, 128]


def test_payload_round_trips(html):
    payload = json.loads(Page(html).data)
    arrays = rollout_arrays()
    assert len(payload["tasks"]) == NUM_TASKS
    for index, task in enumerate(payload["tasks"]):
        size = np.array([SIDE, SIDE])
        expected = (arrays["states"][index] * SCALE + 0.5) / size
        np.testing.assert_allclose(task["executed"], expected, atol=1e-4)
        imagined = (arrays["imagined_states"][index] * SCALE + 0.5) / size
        np.testing.assert_allclose(task["imagined"], imagined, atol=1e-4)
        assert task["success"] == bool(arrays["success"][index])
        assert task["numFrames"] == NUM_STEPS + 1
    cost = payload["charts"]["chart-cost"]["series"][1]["ys"]
    np.testing.assert_allclose(cost, arrays["cost_history"][:, 1], rtol=1e-3)


def test_sheet_holds_the_frames_in_order(html):
    task = json.loads(Page(html).data)["tasks"][0]
    encoded = task["sheet"].removeprefix("data:image/webp;base64,")
    sheet = np.asarray(Image.open(io.BytesIO(base64.b64decode(encoded))).convert("RGB"))
    frames = rollout_arrays()["frames"][0]
    for index in (0, 7, NUM_STEPS):
        row, column = divmod(index, task["columns"])
        tile = sheet[row * SIDE : (row + 1) * SIDE, column * SIDE : (column + 1) * SIDE]
        error = np.abs(tile.astype(float) - frames[index].transpose(1, 2, 0)).mean()
        assert error < 6


def test_path_places_the_dot_where_it_is_drawn():
    place = np.array([20.0, 40.0])
    frame = wall_frame(place)
    y, x = np.unravel_index(frame[1].argmin() if frame[1].min() else 0, frame[1].shape)
    dot = frame[0].astype(int) - frame[1]
    y, x = np.unravel_index(dot.argmax(), dot.shape)
    [[fx, fy]] = path_fractions(place[None], SCALE, height=SIDE, width=SIDE)
    assert (math.floor(fx * SIDE), math.floor(fy * SIDE)) == (x, y)


def test_no_path_without_scale_or_probe():
    states = np.zeros((4, 2))
    assert path_fractions(states, None, height=8, width=8) == []
    assert path_fractions(states * np.nan, 1.0, height=8, width=8) == []


def test_text_from_files_is_escaped(tmp_path):
    run = make_run(tmp_path / "run")
    evil = "</script><script>alert(1)</script><b onclick='x'>"
    experiment = {"recipe": evil, "seed": evil, "commit": evil, "versions": {evil: evil}}
    (run / "experiment.json").write_text(json.dumps(experiment))
    (run / "results.json").write_text(json.dumps(results_object() | {"protocol": evil}))
    with MetricsLog(run / "metrics.jsonl") as log:
        log.append(4001, {f"train/{evil}": 1.0, f"train/{evil}_k2": 1.0}, seconds=9.0)
    html = write_report(run).read_text()
    page = Page(html)
    assert "<script>alert" not in html
    assert not [tag for tag, _ in page.elements if tag == "b"]
    assert sum(tag == "script" for tag, _ in page.elements) == 2
    assert evil in "".join(page.text)


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("experiment.json", "jepawm train"),
        ("metrics.jsonl", "jepawm train"),
        ("results.json", "jepawm eval"),
        ("rollouts.npz", "jepawm eval"),
    ],
)
def test_missing_file_leaves_a_section_that_names_the_command(tmp_path, name, command):
    run = make_run(tmp_path / "run")
    (run / name).unlink()
    page = Page(write_report(run).read_text())
    text = re.sub(r"\s+", " ", "".join(page.text))
    assert f"{name} is not in this run directory. {command}" in text
    assert [attrs["id"] for tag, attrs in page.elements if tag == "section"] == [
        "success",
        "plans",
        "cost",
        "curves",
        "reading",
    ]


def test_folder_without_any_file_is_a_user_error(tmp_path):
    with pytest.raises(UserError, match="not a run directory"):
        write_report(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("experiment.json", "{", "not readable JSON"),
        ("experiment.json", "[]", "not a JSON object"),
        ("results.json", "{}", "baselines"),
        ("results.json", json.dumps(results_object() | {"success": 93.75}), "between 0 and 1"),
        ("results.json", json.dumps(results_object() | {"ci95": 0.1}), "low, high"),
        ("results.json", json.dumps(results_object() | {"episodes": "many"}), "episodes"),
        ("metrics.jsonl", "what\n", "not JSON"),
        ("rollouts.npz", "not a zip", "not a readable npz"),
    ],
)
def test_malformed_file_is_named(tmp_path, name, content, complaint):
    run = make_run(tmp_path / "run")
    (run / name).write_text(content)
    with pytest.raises(UserError, match=complaint) as caught:
        write_report(run)
    assert name in str(caught.value)
    assert not (run / "report.html").exists()


@pytest.mark.parametrize(
    ("array", "value"),
    [
        ("frames", np.zeros((NUM_TASKS, 31, 3, 8, 8), np.float32)),
        ("states", np.zeros((NUM_TASKS, 4, 2))),
        ("success", np.zeros(NUM_TASKS)),
        ("cost_history", np.zeros((30, NUM_TASKS + 1))),
        ("frameskip", np.array(0)),
        ("goal_states", None),
        ("states", np.array([{"an": "object"}], dtype=object)),
    ],
)
def test_malformed_rollouts_name_the_array_and_never_unpickle(tmp_path, array, value):
    run = make_run(tmp_path / "run")
    arrays = rollout_arrays()
    if value is None:
        del arrays[array]
    else:
        arrays[array] = value
    np.savez(run / "rollouts.npz", **arrays)  # pyright: ignore[reportArgumentType]
    with pytest.raises(UserError, match=r"rollouts\.npz"):
        write_report(run)


def test_nan_metrics_are_left_out_and_counted(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    with MetricsLog(run / "metrics.jsonl") as log:
        log.append(1, {"train/loss": 1.0, "train/grad_norm": math.nan}, seconds=0.0)
        log.append(2, {"train/loss": math.nan}, seconds=0.0)
    page = Page(write_report(run).read_text())
    payload = json.loads(page.data)
    assert [chart["series"][0]["ys"] for chart in payload["charts"].values()] == [[1.0]]
    assert "1 values are not finite" in "".join(page.text)


def test_thin_keeps_the_mean_and_the_ends():
    curve = thin(
        Series(label="", xs=[float(i) for i in range(1000)], ys=[float(i % 2) for i in range(1000)])
    )
    assert len(curve.xs) <= MAX_POINTS
    assert curve.xs[-1] == 999
    assert np.mean(curve.ys) == pytest.approx(0.5, abs=0.01)


def test_metric_group_folds_rollout_steps():
    assert metric_group("val/prediction_k12") == "val/prediction_k{k}"
    assert metric_group("train/loss_kind") == "train/loss_kind"


def test_every_metric_is_explained_in_the_docs(project_root):
    text = (project_root / "docs" / "report.md").read_text(encoding="utf-8")
    for key in METRICS:
        assert f"`{key}`" in text


def test_picture_shows_paths_and_stays_small(run, tmp_path):
    out = render_picture(run, tmp_path / "wall.png")
    pixels = np.asarray(Image.open(out).convert("RGB")).astype(int)
    assert out.stat().st_size < 300_000
    assert pixels.shape[1] > 900
    for color in ((0x16, 0x68, 0xB8), (0xD9, 0x69, 0x0F), (0x10, 0x7A, 0x4D)):
        assert (np.abs(pixels - color).max(axis=-1) < 24).sum() > 100


def test_picture_without_rollouts_is_a_user_error(tmp_path):
    with pytest.raises(UserError, match="jepawm eval"):
        render_picture(tmp_path, tmp_path / "wall.png")
