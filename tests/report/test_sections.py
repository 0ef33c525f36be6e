import json
import math

import numpy as np

from jepawm.metrics_log import METRICS, MetricsLog
from jepawm.report import write_report


def test_success_table_has_every_row_and_interval(page):
    text = " ".join(page.text)
    for number in ("93.8 %", "[87.0, 97.1]", "92.7 %", "[85.7, 96.4]", "4.2 %", "0.0 %"):
        assert number in text
    for paper in ("78.8 %", "± 3.9", "64.1 %"):
        assert paper in text


def test_header_says_where_the_run_comes_from(page):
    text = " ".join(page.text)
    for fact in ("wall", "abc1234", "4,000 steps", "in 4.0 minutes", "0.123 s"):
        assert fact in text


def test_one_card_per_task_with_its_outcome(page):
    cards = [attrs["class"] for tag, attrs in page.elements if tag == "article"]
    assert cards == ["task missed", "task reached", "task reached"]


def test_missed_tasks_come_first_the_farthest_before_the_others(
    tmp_path, make_run, make_arrays, parse_page
):
    arrays = make_arrays(num_tasks=5)
    arrays["success"] = np.array([True, False, False, True, False])
    arrays["states"] = arrays["states"].copy()
    arrays["states"][:, -1] = arrays["goal_states"] + np.array([[0.0], [3.0], [9.0], [1.0], [5.0]])
    run = make_run(tmp_path / "run", arrays=arrays)
    page = parse_page(write_report(run).read_text(encoding="utf-8"))
    order = [attrs["data-task"] for tag, attrs in page.elements if tag == "article"]
    assert order == ["2", "4", "1", "0", "3"]


def test_how_episodes_went_is_shown_where_the_file_says(tmp_path, make_run, parse_page, page):
    assert "Change of actions" not in " ".join(page.text)
    motion = {
        "steps_to_success": 12.5,
        "path_length": 41.25,
        "path_over_oracle": 1.0625,
        "action_change": None,
    }
    run = make_run(tmp_path / "run", results={"motion": {"model": motion}})
    text = " ".join(parse_page(write_report(run).read_text(encoding="utf-8")).text)
    for shown in ("Steps to success", "12.5", "41.2", "1.06"):
        assert shown in text


def test_every_metric_has_a_chart_with_its_explanation(page):
    text = " ".join(page.text)
    for metric in METRICS:
        assert metric.key in text
        assert metric.meaning[1:].replace("`", "") in text
        assert metric.suspicious.replace("`", "") in text


def test_nan_metrics_are_left_out_and_counted(tmp_path, parse_page):
    run = tmp_path / "run"
    run.mkdir()
    with MetricsLog(run / "metrics.jsonl") as log:
        log.append(1, {"train/loss": 1.0, "train/grad_norm": math.nan}, seconds=0.0)
        log.append(2, {"train/loss": math.nan}, seconds=0.0)
    page = parse_page(write_report(run).read_text())
    payload = json.loads(page.data)
    assert [chart["series"][0]["ys"] for chart in payload["charts"].values()] == [[1.0]]
    assert "1 values are not finite" in "".join(page.text)


def test_a_gap_between_validation_and_training_is_told(tmp_path, parse_page):
    run = tmp_path / "run"
    run.mkdir()
    with MetricsLog(run / "metrics.jsonl") as log:
        log.append(1, {"train/prediction": 1.0, "val/prediction": 1.0}, seconds=0.0)
        log.append(2, {"train/prediction": 0.01, "val/prediction": 0.5}, seconds=0.0)
        log.append(3, {"train/prediction": 0.01}, seconds=0.0)
    page = parse_page(write_report(run).read_text())
    assert "val/prediction 0.5 and train/prediction 0.01 differ 50 times" in "".join(page.text)


def test_other_protocols_are_not_compared_with_the_paper(tmp_path, make_run, parse_page):
    run = make_run(tmp_path / "run", results={"protocol": "mpc"})
    text = "".join(parse_page(write_report(run).read_text()).text)
    assert "not directly comparable" in text


def test_environment_that_the_paper_lacks(tmp_path, make_run, parse_page):
    run = make_run(tmp_path / "run", results={"env": "own"})
    text = "".join(parse_page(write_report(run).read_text()).text)
    assert "no number for this environment" in text
    assert "78.8" not in text


def test_says_when_success_is_read(tmp_path, make_run, parse_page, page):
    assert "at the end of an episode" in "".join(page.text)
    run = make_run(tmp_path / "run", results={"protocol_settings": {"success": "any"}})
    assert "at any time of an episode" in "".join(parse_page(write_report(run).read_text()).text)
