import json
import math
import re

import numpy as np
import pytest

from jepawm.errors import UserError
from jepawm.metrics_log import MetricsLog
from jepawm.report import write_report


def test_page_is_well_formed_with_unique_identifiers(page):
    names = [attrs["id"] for _, attrs in page.elements if "id" in attrs]
    assert len(names) == len(set(names))
    links = [attrs["href"] or "" for tag, attrs in page.elements if tag == "a"]
    assert links
    assert {link.removeprefix("#") for link in links} <= set(names)


def test_nothing_is_loaded_from_the_network(html, page):
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


def test_text_from_files_is_escaped(tmp_path, make_run, parse_page):
    evil = "</script><script>alert(1)</script><b onclick='x'>"
    run = make_run(tmp_path / "run", results={"protocol": evil})
    experiment = {"recipe": evil, "seed": evil, "commit": evil, "versions": {evil: evil}}
    (run / "experiment.json").write_text(json.dumps(experiment))
    with MetricsLog(run / "metrics.jsonl") as log:
        log.append(4001, {f"train/{evil}": 1.0, f"train/{evil}_k2": 1.0}, seconds=9.0)
    html = write_report(run).read_text()
    page = parse_page(html)
    assert "<script>alert" not in html
    assert not [tag for tag, _ in page.elements if tag == "b"]
    assert sum(tag == "script" for tag, _ in page.elements) == 2
    assert evil in "".join(page.text)


def test_texts_that_move_a_cursor_or_turn_the_page_are_shown_as_codes(tmp_path, make_run):
    evil = "wall\x1b[2J\x00\u202egnp.exe"
    run = make_run(
        tmp_path / "run", results={"env": evil, "protocol": evil, "versions": {evil: evil}}
    )
    (run / "experiment.json").write_text(json.dumps({"recipe": evil, "seed": evil}))
    html = write_report(run).read_text(encoding="utf-8")
    assert not [one for one in html if one in "\x1b\x00\u202e"]
    assert r"wall\x1b[2J\x00\u202egnp.exe" in html


@pytest.mark.parametrize("value", ["1e308", "-1e308", "1e-150", "1" * 39, "null"])
def test_metrics_that_cannot_be_drawn_are_left_out_and_counted(
    tmp_path, make_run, parse_page, value
):
    run = make_run(tmp_path / "run")
    with (run / "metrics.jsonl").open("a") as file:
        for step in ("5000", "5001", value if value == "1" * 39 else "5002"):
            row = f'"train/loss": {value}, "odd": {value}, "train/x_k{value}": 1'
            file.write(f'{{"step": {step}, "seconds": {value}, {row}}}\n')
    page = parse_page(write_report(run).read_text())
    text = re.sub(r"\s+", " ", "".join(page.text))
    if value == "1" * 39:
        assert "in 66.7 minutes" not in text  # what the last row says, even so
    elif value == "null":
        assert "3 values are not finite and not drawn." in text
    else:
        assert "3 values are too large or too small for an axis and not drawn." in text
        assert "1 metrics cannot be drawn." in text
    assert math.isfinite(json.loads(page.data)["charts"]["chart-0"]["series"][0]["ys"][-1])


def test_rollouts_and_scales_out_of_range_leave_a_page(tmp_path, make_run, parse_page, arrays):
    cost = arrays["cost_history"].copy()
    cost[:, 0] = 1e308
    far = {"cost_history": cost, "states": np.full_like(arrays["states"], 1e300)}
    run = make_run(tmp_path / "run", results={"state_to_pixel": 1e308}, arrays=far)
    page = parse_page(write_report(run).read_text())
    assert json.loads(page.data)["tasks"][0]["executed"] == []


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("experiment.json", "jepawm train"),
        ("metrics.jsonl", "jepawm train"),
        ("results.json", "jepawm eval"),
        ("rollouts.npz", "jepawm eval"),
    ],
)
def test_missing_file_leaves_a_section_that_names_the_command(
    tmp_path, make_run, parse_page, name, command
):
    run = make_run(tmp_path / "run")
    (run / name).unlink()
    page = parse_page(write_report(run).read_text())
    text = re.sub(r"\s+", " ", "".join(page.text))
    assert f"{name} is not in this run directory. {command}" in text
    assert [attrs["id"] for tag, attrs in page.elements if tag == "section"] == [
        "success",
        "plans",
        "cost",
        "diagnosis",
        "curves",
        "reading",
    ]


def test_folder_without_any_file_is_a_user_error(tmp_path):
    with pytest.raises(UserError, match="not a run directory"):
        write_report(tmp_path)
    assert list(tmp_path.iterdir()) == []
