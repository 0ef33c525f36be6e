import base64
import io
import json

import numpy as np
import pytest
from PIL import Image

from jepawm.envs.wall.env import WallBatch
from jepawm.report import write_report
from jepawm.report.animation import path_fractions

NUM_TASKS, NUM_STEPS, SIDE = 3, 30, 64
SCALE = SIDE / 65


def test_page_with_large_frames_is_light_too(tmp_path, make_run, parse_page, arrays):
    arrays["frames"] = arrays["frames"].repeat(4, axis=-1).repeat(4, axis=-2)
    arrays["goal_frames"] = arrays["goal_frames"].repeat(4, axis=-1).repeat(4, axis=-2)
    run = make_run(tmp_path / "run", arrays=arrays)
    html = write_report(run).read_text()
    assert len(html) < 2_000_000
    assert json.loads(parse_page(html).data)["tasks"][0]["frame"] == [128, 128]


def test_payload_round_trips(page, arrays):
    payload = json.loads(page.data)
    assert len(payload["tasks"]) == NUM_TASKS
    for index, task in enumerate(payload["tasks"]):
        size = np.array([SIDE, SIDE])
        expected = (arrays["states"][index] + 0.5) * SCALE / size
        np.testing.assert_allclose(task["executed"], expected, atol=1e-4)
        imagined = (arrays["imagined_states"][index] + 0.5) * SCALE / size
        np.testing.assert_allclose(task["imagined"], imagined, atol=1e-4)
        assert task["success"] == bool(arrays["success"][index])
        assert task["numFrames"] == NUM_STEPS + 1
    cost = payload["charts"]["chart-cost"]["series"][1]["ys"]
    np.testing.assert_allclose(cost, arrays["cost_history"][:, 1], rtol=1e-3)


def test_sheet_holds_the_frames_in_order(page, arrays):
    task = json.loads(page.data)["tasks"][0]
    encoded = task["sheet"].removeprefix("data:image/webp;base64,")
    sheet = np.asarray(Image.open(io.BytesIO(base64.b64decode(encoded))).convert("RGB"))
    frames = arrays["frames"][0]
    for index in (0, 7, NUM_STEPS):
        row, column = divmod(index, task["columns"])
        tile = sheet[row * SIDE : (row + 1) * SIDE, column * SIDE : (column + 1) * SIDE]
        error = np.abs(tile.astype(float) - frames[index].transpose(1, 2, 0)).mean()
        assert error < 6


@pytest.mark.parametrize("image_size", [64, 65, 224])
def test_path_lies_on_the_dot_that_the_environment_draws(image_size):
    env = WallBatch(image_size=image_size)
    tasks = env.sample_tasks(0, num_tasks=4)
    pixels = env.reset(tasks).pixels.numpy().astype(float)
    for task, frame in zip(tasks, pixels, strict=True):
        redness = frame[0] - frame[1]
        y, x = np.mgrid[:image_size, :image_size] + 0.5
        dot = np.array([(redness * x).sum(), (redness * y).sum()]) / redness.sum()
        start = np.array([task.start])
        path = path_fractions(start, image_size / 65, height=image_size, width=image_size)
        np.testing.assert_allclose(np.array(path[0]) * 65, dot / image_size * 65, atol=0.1)


def test_no_path_without_scale_or_probe():
    states = np.zeros((4, 2))
    assert path_fractions(states, None, height=8, width=8) == []
    assert path_fractions(states * np.nan, 1.0, height=8, width=8) == []
