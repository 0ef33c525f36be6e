"""Damaged tables and rows of Metaworld are problems of their own episodes."""

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jepawm.data.checking import Requirements
from jepawm.data.formats import open_source
from jepawm.data.importing import check_source
from jepawm.data.recording import ReadOptions
from jepawm.errors import UserError


@pytest.fixture
def make_table(tmp_path: Path, make_frames, make_mp4) -> Callable[..., Path]:
    video = make_mp4(tmp_path / "videos" / "0.mp4", make_frames(0, 4)).read_bytes()
    good = {
        "task": "reach",
        "video": video,
        "states": [[float(step)] * 39 for step in range(4)],
        "actions": [[0.5 * step] * 4 for step in range(3)],
    }

    def make(*changes: dict[str, object], name: str = "a", **columns: pa.Array) -> Path:
        rows = {
            key: [{**good, **change}[key] for change in changes]
            for key in good
            if key not in columns
        }
        (tmp_path / "data").mkdir(exist_ok=True)
        pq.write_table(pa.table({**rows, **columns}), tmp_path / "data" / f"{name}.parquet")
        return tmp_path / "data"

    return make


def problems(path: Path) -> list[str]:
    source = open_source(path, name="metaworld", options=ReadOptions())
    return [
        f"{one.episode}: {one.message}" for one in check_source(source, Requirements()) if one.fatal
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"video": None}, "is empty"),
        ({"video": b""}, "is empty"),
        ({"video": b"hello"}, "truncated or damaged"),
        ({"states": None}, "rows of states have several lengths or none"),
        ({"states": []}, "rows of states have several lengths or none"),
        ({"states": [[1.0] * 39, None]}, "rows of states have several lengths or none"),
        ({"states": [[1.0] * 39, [1.0]]}, "rows of states have several lengths or none"),
        ({"states": [[1.0]] * 4}, "states have 1 numbers, at least 4"),
        ({"states": [[None] * 39] * 4}, "NaN or infinite"),
        ({"actions": [[]] * 3}, "actions has no columns"),
        ({"actions": [[1e39] * 4] * 3}, "actions is "),
    ],
)
@pytest.mark.parametrize("place", [0, 1])
def test_a_bad_row_is_one_episode(make_table, change: dict[str, object], message: str, place: int):
    rows = [{}, {}, {}]
    rows[place] = change
    found = problems(make_table(*rows))
    assert all(text.startswith(f"episode {place}: ") for text in found)
    assert any(message in text for text in found)


def test_a_damaged_table_is_one_episode(make_table):
    folder = make_table({})
    make_table({}, name="b")
    for name in ("a", "b"):
        file = folder / f"{name}.parquet"
        content = file.read_bytes()
        file.write_bytes(content[:-200])
        (found,) = problems(folder)
        assert found.startswith(f"all of {name}.parquet: ")
        file.write_bytes(content)


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("video", pa.array([1])),
        ("video", pa.array(["text"])),
        ("video", pa.array([{"path": "x"}])),
        ("states", pa.array([[1.0, 2.0]])),
        ("states", pa.array([[["a"]]])),
        ("actions", pa.array([3.0])),
        ("task", pa.array([3])),
    ],
    ids=str,
)
def test_a_table_of_other_columns(make_table, name: str, column: pa.Array):
    folder = make_table({}, **{name: column})
    with pytest.raises(UserError, match=rf"a\.parquet: {name} holds"):
        problems(folder)
    make_table({}, name="b")
    (found,) = problems(folder)
    assert found.startswith("all of a.parquet: ")


def test_a_link_that_leads_out_is_not_even_looked_at(make_table, tmp_path: Path):
    folder = make_table({})
    (folder / "a.parquet").rename(tmp_path / "secret.parquet")
    (folder / "a.parquet").symlink_to(tmp_path / "secret.parquet")
    for name in (None, "metaworld"):
        with pytest.raises(UserError) as caught:
            open_source(folder, name=name, options=ReadOptions())
        assert "lies outside" in str(caught.value) or "is of no known format" in str(caught.value)
