"""JSON of others: what no file of ours would hold is refused, with the place."""

import os
from pathlib import Path

import pytest

from jepawm.errors import UserError
from jepawm.strict_json import entry, expect, optional_entry, parse_json, read_json, read_text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "Expecting value"),
        ('{"a": 1', "Expecting"),
        ("[" * 100_000, "nested too deep"),
        ("[" * 500 + "]" * 500, "nested too deep"),
        ('{"a":' * 150 + "1" + "}" * 150, "nested too deep"),
        ("1" * 5000, "digits"),
        ("-" + "1" * 41, "digits"),
        ("1e400", "too large"),
        ("[NaN]", "NaN"),
        ("-Infinity", "Infinity"),
        ('{"a": 1, "a": 2}', "'a' is there twice"),
        ('"\\ud800"', "surrogate"),
        ('{"\\udc00x": 1}', "surrogate"),
        ('[[{"a": "\\uD8ff"}]]', "surrogate"),
        ("\ufeff{}", "BOM"),
    ],
)
def test_what_is_refused(text: str, reason: str):
    with pytest.raises(
        UserError, match=f"here is truncated or altered .*{reason}.*; copy it again"
    ):
        parse_json(text, where="here")


def test_what_is_taken():
    text = '{"a": [1, -2.5, 1e300, true, null], "b": {"c": "\\ud83d\\ude00 \\u00e4"}, "d": %s}'
    deep = "[" * 90 + "]" * 90
    value = parse_json(text % deep, where="here")
    assert isinstance(value, dict)
    assert value["a"] == [1, -2.5, 1e300, True, None]
    assert value["b"] == {"c": "\U0001f600 \u00e4"}
    assert parse_json(str([[1]] * 1000), where="here") == [[1]] * 1000


def test_a_file_is_read_whole_or_named(tmp_path: Path):
    file = tmp_path / "a.json"
    file.write_text('{"a": "\u00e4"}', encoding="utf-8")
    assert read_json(file, what="configuration") == {"a": "\u00e4"}
    file.write_bytes(b'{"a": "\xe4"}')
    with pytest.raises(
        UserError, match=r"a\.json is no configuration: not UTF-8 .*; copy it again"
    ):
        read_json(file, what="configuration")
    with pytest.raises(UserError, match=r"b\.json is missing; write it"):
        read_json(tmp_path / "b.json", what="configuration", remedy="write it")
    os.mkfifo(tmp_path / "c.json")
    with pytest.raises(UserError, match=r"c\.json is a pipe"):
        read_text(tmp_path / "c.json", what="configuration")


def test_a_huge_file_is_not_read(tmp_path: Path):
    with (tmp_path / "a.json").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(UserError, match=r"a\.json is larger than"):
        read_json(tmp_path / "a.json", what="configuration")


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (True, int),
        (True, float),
        (1.0, int),
        ("1", int),
        (None, str),
        (float("inf"), float),
        (float("nan"), float),
        ((1,), list),
        ([], dict),
        (1, bool),
    ],
)
def test_a_value_of_another_kind_is_named(value: object, kind: type):
    with pytest.raises(UserError, match=r"here: size is .*, not .*; copy it again"):
        expect(value, kind, where="here", field="size")


def test_values_of_the_right_kind():
    assert expect(3, float, where="here", field="x") == 3.0
    assert type(expect(3, float, where="here", field="x")) is float
    content: dict[str, object] = {"a": 1, "b": None, "c": "t"}
    assert entry(content, "a", int, where="here") == 1
    assert optional_entry(content, "c", str, where="here") == "t"
    assert optional_entry(content, "b", str, where="here") is None
    assert optional_entry(content, "d", str, where="here") is None
    with pytest.raises(UserError, match="here lacks d; do"):
        entry(content, "d", int, where="here", remedy="do")
    with pytest.raises(UserError, match="here: b is None, not a text"):
        entry(content, "b", str, where="here")
