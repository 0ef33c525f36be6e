"""Executed plans of the report: failures first, by where they stopped; what was imagined beside it."""

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image

from jepawm.evaluation.result_files import read_rollouts
from jepawm.report import write_report
from jepawm.report.plans import group_tasks


@pytest.fixture
def seen_run(tmp_path, make_run, make_arrays):
    """Return a run of five tasks whose decoder painted grey frames, brighter with each block."""
    arrays = make_arrays(num_tasks=5)
    grey = 30 * np.arange(7, dtype=np.uint8)
    frames = np.broadcast_to(grey[:, None, None, None], (5, 7, 3, 32, 32))
    arrays["success"] = np.array([True, False, False, False, True])
    arrays["stops"] = np.array(["", "short <of it>", "beside the wall", "short <of it>", ""])
    return make_run(tmp_path / "run", arrays={**arrays, "imagined_frames": frames})


def test_missed_tasks_are_grouped_by_where_they_stopped(seen_run, parse_page):
    rollouts = read_rollouts(seen_run / "rollouts.npz")
    away = np.linalg.norm(rollouts.states[:, -1] - rollouts.goal_states, axis=1)
    groups = group_tasks(rollouts)
    assert list(groups) == ["missed, short <of it>", "missed, beside the wall", "at the goal"]
    assert groups["missed, short <of it>"] == ([1, 3] if away[1] > away[3] else [3, 1])
    assert groups["at the goal"] == [0, 4]
    html = write_report(seen_run).read_text()
    assert "missed, short &lt;of it&gt;: 2</h3>" in html
    cards = [attrs["data-task"] for _, attrs in parse_page(html).elements if "data-task" in attrs]
    assert cards == [str(task) for tasks in groups.values() for task in tasks]


def test_imagined_frames_stand_beside_what_happened(seen_run, parse_page, html):
    page = parse_page(write_report(seen_run).read_text())
    task = json.loads(page.data)["tasks"][1]
    assert (task["numSeen"], task["seenFrame"]) == (7, [32, 32])
    encoded = task["seen"].removeprefix("data:image/webp;base64,")
    sheet = np.asarray(Image.open(io.BytesIO(base64.b64decode(encoded))).convert("L"))
    assert sheet.shape == (32, 7 * 32)
    np.testing.assert_allclose(sheet[16, 16::32], 30 * np.arange(7), atol=4)
    assert sum(attrs.get("class") == "seen" for _, attrs in page.elements) == 5
    assert "class='seen'" not in html  # a run without a decoder
    assert "seen" not in json.loads(parse_page(html).data)["tasks"][0]
