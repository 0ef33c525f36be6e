from contextlib import suppress
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jepawm.data.recording import (
    FIRST_CAMERA,
    all_files,
    choose_camera,
    matrix,
    read_any,
    read_parquet,
    require_columns,
    require_own,
)
from jepawm.errors import UserError

FILE = Path("a.parquet")


def read(column: object) -> np.ndarray:
    return matrix(pa.table({"x": column}), "x", file=FILE)


def test_numbers_and_vectors_keep_their_type():
    assert read(pa.array([1, 2], pa.int16())).tolist() == [[1], [2]]
    vectors = np.arange(6, dtype=np.float32).reshape(3, 2)
    rows = read(list(vectors))
    assert rows.dtype == np.float32
    assert np.array_equal(rows, vectors)
    fixed = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), 2)
    assert np.array_equal(read(fixed), vectors)
    chunks = pa.chunked_array([fixed[:1], fixed[1:]])
    assert np.array_equal(read(chunks), vectors)


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ([1.0, None], "x is empty in 1 rows"),
        ([[1.0, 2.0], [1.0]], r"rows of x have several lengths, \[1, 2\]; fill or leave out"),
        ([[1.0, None]], "x holds empty numbers"),
        ([[[1.0]], [[2.0]]], "rows of x are matrices"),
        (["a", "b"], "x holds string, not numbers"),
    ],
)
def test_anything_else_is_refused(column: object, message: str):
    with pytest.raises(UserError, match=message):
        read(column)


def test_missing_columns_are_named_beside_those_there_are():
    require_columns(["a", "b"], ["b"], file=FILE)
    with pytest.raises(
        UserError, match=r"a\.parquet lacks the columns c, d; it has: a, b; rename columns"
    ):
        require_columns(["a", "b"], ["c", "a", "d"], file=FILE)


def test_links_that_lead_out_are_no_files_of_a_data_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("JEPAWM_DATA", str(tmp_path / "elsewhere"))
    (tmp_path / "secret").write_text("x")
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "a").write_text("x")
    (folder / "link").symlink_to("a")
    (folder / "out").symlink_to("../secret")
    (folder / "dangling").symlink_to("nothing")
    assert [file.name for file in all_files(folder)] == ["a", "link"]
    require_own(folder, folder / "link")
    with pytest.raises(UserError, match="lies outside of the data set"):
        require_own(folder, folder / "out")
    with pytest.raises(UserError, match="is a link to nothing"):
        require_own(folder, folder / "dangling")
    require_own(tmp_path / "data" / "out", tmp_path / "data" / "out")  # named by the user


def test_tables_are_checked_before_they_are_read(tmp_path: Path):
    file = tmp_path / "a.parquet"
    pq.write_table(pa.table({"a": [1] * 10**6, "b": [2.0] * 10**6}), file)
    assert read_parquet(file, ["b"]).column_names == ["b"]
    with pytest.raises(UserError, match="lacks the columns c; it has: a, b"):
        read_parquet(file, ["c"])
    pq.write_table(pa.Table.from_arrays([pa.array([1])] * 2, names=["a", "a"]), file)
    with pytest.raises(UserError, match="has the column a twice"):
        read_parquet(file)
    file.write_bytes(b"PAR1" + bytes(100) + b"PAR1")
    with pytest.raises(UserError, match="damaged or no parquet table"):
        read_parquet(file)


def test_the_first_that_can_be_read_speaks_for_all():
    def read(value: int) -> int:
        if value == 0:
            raise UserError("bad")
        return 10 // (value - 1)  # of 1 raises what is no error of ours

    assert read_any([0, 1, 2], read) == 10
    assert read_any([0, 1], read) is None


@pytest.fixture
def table() -> pa.Table:
    columns = {"episode_index": [0, 0, 1, 1, 1, 2], "action.x": np.arange(6.0), "action": range(6)}
    return pa.table(columns)


def test_tables_by_column_and_episode(table: pa.Table, tmp_path: Path):
    file = tmp_path / "a.parquet"
    for rows in (1, 2, 100):  # in one group of rows, or in several
        pq.write_table(table, file, row_group_size=rows)
        assert read_parquet(file) == table
        assert read_parquet(file, ["action"], optional=["task", "action.x"]) == table.select([2, 1])
        for episode, chosen in ((1, [2, 3, 4]), (2, [5]), (7, [])):
            part = read_parquet(file, ["action"], only=("episode_index", episode))
            assert part.column_names == ["action"]
            assert part["action"].to_pylist() == chosen
    pq.write_table(table.slice(0, 0), file)
    assert read_parquet(file).num_rows == 0
    with pytest.raises(UserError, match=r"lacks the columns torque; it has: episode_index, action"):
        read_parquet(file, ["torque"])


def test_a_column_that_is_there_twice(table: pa.Table, tmp_path: Path):
    pq.write_table(table.append_column("action", table["action"]), tmp_path / "a.parquet")
    with pytest.raises(UserError, match=r"a\.parquet has the column action twice; rename one"):
        read_parquet(tmp_path / "a.parquet", ["action"])


@pytest.mark.parametrize("is_text", [True, False])
def test_a_small_table_claims_no_memory(tmp_path: Path, is_text: bool):
    """One long text that is repeated; rows of nothing."""
    file = tmp_path / "a.parquet"
    if is_text:
        pq.write_table(pa.table({"a": ["x" * 2**20] * 40}), file, compression="zstd")
    else:
        pq.write_table(pa.table({"a": pa.nulls(2 * 10**7, pa.int8())}), file)
    with pytest.raises(UserError, match=r"a\.parquet claims [\d,]+ bytes for its rows"):
        read_parquet(file)


def test_damaged_tables_are_one_message(table: pa.Table, tmp_path: Path):
    file = tmp_path / "a.parquet"
    pq.write_table(table, file)
    whole = file.read_bytes()
    random = np.random.default_rng(0)
    for _ in range(60):
        damaged = bytearray(whole)
        for place in random.integers(0, len(whole), size=4):
            damaged[place] ^= 1 << int(random.integers(8))
        file.write_bytes(damaged)
        with suppress(UserError):  # anything else is not
            read_parquet(file, ["action"], only=("episode_index", 1))
    for name in ("folder", "nothing"):
        (tmp_path / "folder").mkdir(exist_ok=True)
        with pytest.raises(UserError, match=rf"{name} is"):
            read_parquet(tmp_path / name)


@pytest.mark.parametrize(
    ("wanted", "chosen"),
    [
        ("observation.images.top", "observation.images.top"),
        ("top", "observation.images.top"),
        ("images.wrist", "observation.images.wrist"),
        ("cam", "cam"),
        ("left_cam", "left_cam"),
        (FIRST_CAMERA, "observation.images.top"),
    ],
)
def test_a_unique_ending_names_a_camera(wanted: str, chosen: str):
    cameras = ["observation.images.top", "observation.images.wrist", "cam", "left_cam"]
    assert choose_camera(wanted, cameras, where=Path("set")) == chosen


@pytest.mark.parametrize("wanted", ["right", "observation", "t", "images.to", ""])
def test_other_parts_of_a_name_are_answered_by_all(wanted: str):
    cameras = ["a.wrist_left", "b.wrist_left", "a.left_front"]
    for name in (wanted, "wrist_left"):
        with pytest.raises(
            UserError, match=r"by --camera choose among: a\.wrist_left, b\.wrist_left"
        ):
            choose_camera(name, cameras, where=Path("set"))


def test_several_cameras_are_asked_for_and_a_single_one_is_not():
    with pytest.raises(UserError, match="several cameras; choose one by --camera: a, b"):
        choose_camera(None, ["a", "b"], where=Path("set"))
    assert choose_camera(None, ["a"], where=Path("set")) == "a"
    with pytest.raises(UserError, match="holds no camera"):
        choose_camera(FIRST_CAMERA, [], where=Path("set"))
