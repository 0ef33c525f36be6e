"""Files of rows: back and forth, no row twice, broken ends mended."""

import json
import logging
from pathlib import Path

import pytest

from jepawm.errors import UserError
from jepawm.study.rows import append_rows, read_rows, row_from_json, row_to_json


def test_rows_come_back_as_they_were(tmp_path: Path, make_row):
    rows = [make_row("window", "2"), make_row("window", "oracle", row="oracle")]
    append_rows(tmp_path / "deep" / "window.jsonl", rows)
    assert read_rows(tmp_path / "deep" / "window.jsonl") == rows


def test_a_row_is_one_flat_object_with_what_the_readers_look_for_first(make_row):
    content = row_to_json(make_row("window", "2"))
    assert list(content)[:4] == ["axis", "value", "recipe", "seed"]
    assert {"success", "ci95", "measures", "command", "versions"} <= set(content)
    assert "row" not in content
    assert row_to_json(make_row("window", "oracle", row="oracle"))["row"] == "oracle"
    assert json.loads(json.dumps(content)) == json.loads(json.dumps(content, allow_nan=False))


def test_a_row_that_is_there_is_not_appended_again(tmp_path: Path, make_row):
    path = tmp_path / "window.jsonl"
    first, second = make_row("window", "1"), make_row("window", "2")
    assert append_rows(path, [first, first]) == [first]
    assert append_rows(path, [first, second]) == [second]
    changed = make_row("window", "1", setup="other")
    assert append_rows(path, [changed]) == [changed]
    assert read_rows(path) == [first, second, changed]


def test_a_broken_last_line_is_taken_out_kept_and_told(
    tmp_path: Path, make_row, caplog: pytest.LogCaptureFixture
):
    path = tmp_path / "window.jsonl"
    rows = [make_row("window", value) for value in ("1", "2")]
    append_rows(path, rows)
    whole = path.read_text()
    cut = whole.rstrip("\n")[:-20]
    path.write_text(cut)
    with caplog.at_level(logging.WARNING):
        assert read_rows(path) == rows[:1]
    assert "ended in a broken line" in caplog.text
    assert (tmp_path / "window.jsonl.broken").read_text() == cut.split("\n")[-1] + "\n"
    assert append_rows(path, rows) == rows[1:]
    assert path.read_text() == whole


def test_a_last_line_that_only_lacks_its_end_is_completed(tmp_path: Path, make_row):
    path = tmp_path / "window.jsonl"
    row = make_row("window", "1")
    append_rows(path, [row])
    path.write_text(path.read_text().rstrip("\n"))
    assert append_rows(path, [row]) == []
    assert read_rows(path) == [row]
    assert not (tmp_path / "window.jsonl.broken").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"success": "often"}, "'often' is no float"),
        ({"tasks": 3}, "tasks"),
        ({"value": 2}, "2 is no str"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, make_row, change, message: str):
    path = tmp_path / "window.jsonl"
    content = {**row_to_json(make_row("window", "1")), **change}
    path.write_text(json.dumps(content) + "\n" + json.dumps(content) + "\n")
    with pytest.raises(UserError, match=f"window.jsonl:1 .*{message}"):
        read_rows(path)


def test_lines_of_other_things_are_refused(tmp_path: Path):
    path = tmp_path / "window.jsonl"
    path.write_text('[1]\n{"axis": 3}\n')
    with pytest.raises(UserError, match=r"window.jsonl:1 is no object"):
        read_rows(path)
    with pytest.raises(UserError, match=r"absent\.jsonl"):
        read_rows(tmp_path / "absent.jsonl")
    with pytest.raises(UserError, match="no row of this version"):
        row_from_json({"axis": "window"}, where="here")
