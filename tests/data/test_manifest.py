import json
import re
from pathlib import Path

import numpy as np
import pytest

from jepawm.data.manifest import (
    SealedKind,
    column_statistics,
    content_hash,
    read_manifest,
    read_sealed,
    sealed_text,
)
from jepawm.errors import UserError


def test_statistics_are_unbiased():
    mean, std = column_statistics(np.array([[1.0, 5.0], [3.0, 5.0], [5.0, 5.0]]))
    assert mean == [3.0, 5.0]
    assert std == [2.0, 0.0]


def test_one_row_and_constant_columns_have_std_zero():
    assert column_statistics(np.array([[4.0]])) == ([4.0], [0.0])
    _, std = column_statistics(np.full((1000, 1), 0.1, dtype=np.float32))
    assert std == [0.0]


def test_text_round_trip(store_path: Path):
    manifest = read_manifest(store_path)
    assert (store_path / "manifest.json").read_text() == manifest.to_text()
    assert manifest.statistics.action_mean[1] == pytest.approx(-14 / 16)


KIND = SealedKind(
    format="toy",
    version=2,
    folder="a toy box",
    names=frozenset({"size", "colour"}),
    later=frozenset({"colour"}),
    remedy="buy a new one",
)


def write(folder: Path, **content: object) -> Path:
    path = folder / "box.json"
    path.write_text(sealed_text(content, kind=KIND))
    return path


def test_what_was_sealed_is_read_and_later_fields_may_be_missing(tmp_path: Path):
    assert read_sealed(write(tmp_path, size=3, colour="red"), kind=KIND) == {
        "size": 3,
        "colour": "red",
    }
    assert read_sealed(write(tmp_path, size=3), kind=KIND) == {"size": 3}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": 4}, "was altered: its own hash does not match; buy a new one"),
        ({"format": "other"}, "is not the manifest of a toy box"),
        ({"version": 1}, "has format version 1, this jepawm reads 2; .* or buy a new one"),
    ],
)
def test_changed_files_are_refused(change: dict[str, object], message: str, tmp_path: Path):
    path = write(tmp_path, size=3)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(UserError, match=message):
        read_sealed(path, kind=KIND)


@pytest.mark.parametrize("content", [{"colour": "red"}, {"size": 3, "weight": 1}])
def test_other_fields_are_refused_even_with_a_right_hash(content: dict, tmp_path: Path):
    with pytest.raises(UserError, match="was altered"):
        read_sealed(write(tmp_path, **content), kind=KIND)


def test_missing_and_truncated_files_are_named(tmp_path: Path):
    with pytest.raises(UserError, match=re.escape(f"{tmp_path} is not a toy box")):
        read_sealed(tmp_path / "box.json", kind=KIND)
    path = write(tmp_path, size=3)
    path.write_text(path.read_text()[:-5])
    with pytest.raises(UserError, match="truncated or altered"):
        read_sealed(path, kind=KIND)


def test_the_hash_does_not_depend_on_the_order():
    assert content_hash({"a": 1, "b": [2]}) == content_hash({"b": [2], "a": 1})
