"""LeRobot data sets that are old, merged, edited or recorded otherwise than they say."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from jepawm.data.checking import Requirements
from jepawm.data.formats import open_source
from jepawm.data.importing import check_source
from jepawm.data.recording import Problem, ReadOptions, Source
from jepawm.errors import UserError
from jepawm.foreign_files import POINTER

LENGTHS = (6, 9, 4)
CAMERA = "observation.images.front"
INDEX = "meta/episodes/chunk-000/file-000.parquet"


def _open(path: Path, **options: str) -> Source:
    return open_source(path, name=None, options=ReadOptions(**options))


def _found(path: Path, *, fatal: bool = True, **options: str) -> list[Problem]:
    problems = check_source(_open(path, **options), Requirements())
    return [one for one in problems if one.fatal == fatal]


def change_info(path: Path, *without: str, **entries: object) -> None:
    file = path / "meta" / "info.json"
    content = json.loads(file.read_text()) | entries
    file.write_text(json.dumps({k: v for k, v in content.items() if k not in without}))


def change(file: Path, **columns: object) -> None:
    """Replace columns of a table; two underscores in a name stand for a slash."""
    table = pq.read_table(file)
    for key, values in columns.items():
        name = key.replace("__", "/")
        table = table.set_column(table.column_names.index(name), name, pa.array(values))
    pq.write_table(table, file)


def tables(path: Path) -> list[Path]:
    return sorted((path / "data").rglob("*.parquet"))


@pytest.mark.parametrize("fps", [30, 5])
def test_a_rate_that_the_times_contradict(write, version: str, fps: int):
    path = write(version)
    change_info(path, fps=fps)
    found = _found(path)
    assert len(found) == len(LENGTHS)
    said = f"info.json says {fps} frames per second, the timestamps of episode 0 are 10 apart"
    assert said in found[0].message


def test_actions_in_several_columns(write, version: str, make_numbers):
    path = write(version)
    for file in tables(path):
        table = pq.read_table(file)
        arms = [row[:1] for row in table["action"].to_pylist()]
        grippers = [row[1] for row in table["action"].to_pylist()]
        table = table.drop(["action"]).append_column("action.arm", pa.array(arms))
        pq.write_table(table.append_column("action.gripper", pa.array(grippers)), file)
    features = json.loads((path / "meta" / "info.json").read_text())["features"]
    features |= dict.fromkeys(("action.arm", "action.gripper"), features["timestamp"])
    del features["action"]
    change_info(path, features=features)
    with pytest.raises(UserError, match=r"no column action; by --action-key .*arm,action\.gripper"):
        _open(path)
    read = _open(path, action_key="action.arm,action.gripper").episodes[1].read()
    assert np.allclose(read.actions, make_numbers(1, 9, 2))


def test_times_that_start_elsewhere_are_not_blamed_on_the_video(write):
    path = write("v2.1")
    for start in (12.3, 1.7e9):
        for file, length in zip(tables(path), LENGTHS, strict=True):
            change(file, timestamp=start + np.arange(length) / 10)
        found = _found(path)
        assert len(found) == len(LENGTHS)
        assert "has 6 frames, from 0 to 0.5 s, but only 0 of the 6" in found[0].message
        assert "(--pair-frames order)" in found[0].message
        assert "copy it again" not in found[0].message
        assert _found(path, pair_frames="order") == []


def test_times_of_single_precision_that_stand_still(write):
    path = write("v2.1")
    for file, length in zip(tables(path), LENGTHS, strict=True):
        change(file, timestamp=(1.7e9 + np.arange(length) / 10).astype(np.float32))
    assert all("--pair-frames order" in one.message for one in _found(path))
    assert _found(path, pair_frames="order") == []


def test_a_video_faster_than_its_table(write, make_frames, make_mp4):
    path = write("v2.1")
    for file, (episode, length) in zip(
        sorted((path / "videos").rglob("*.mp4")), enumerate(LENGTHS), strict=True
    ):
        make_mp4(file, make_frames(episode, length), fps=30)
    assert "has 9 frames, from 0 to 0.266667 s" in _found(path)[1].message
    assert _found(path, pair_frames="order") == []


@pytest.mark.parametrize("starts", [[0.0, 90.0, 99.0], [0.0, 0.0, 1.5], [0.0, 0.3, 1.5]])
def test_a_merge_that_left_the_times_of_the_parts(write, make_frames, starts: list[float]):
    path = write("v3.0")
    change(path / INDEX, **{f"videos__{CAMERA}__from_timestamp": starts})
    found = _found(path)
    assert found
    assert all("--pair-frames order" in one.message for one in found)
    assert _found(path, pair_frames="order") == []
    frames = np.stack(list(_open(path, pair_frames="order").episodes[1].read().frames()))
    assert np.abs(frames.astype(int) - make_frames(1, 9)).mean() < 2


def test_order_needs_as_many_frames_as_rows(write, make_frames, make_mp4):
    path = write("v2.1")
    make_mp4(sorted((path / "videos").rglob("*.mp4"))[0], make_frames(0, 4))
    (bad,) = _found(path, pair_frames="order")
    assert "has 4 frames, its episodes have 6 rows" in bad.message


def test_other_formats_have_no_use_for_an_order(tmp_path: Path, make_frames, make_numbers):
    np.savez(tmp_path / "a.npz", frames=make_frames(0, 4), actions=make_numbers(0, 3, 2))
    with pytest.raises(UserError, match="--pair-frames order is for videos of LeRobot"):
        _open(tmp_path, pair_frames="order")


@pytest.mark.parametrize("missing", [False, True])
def test_rows_that_lie_in_another_table(write, make_numbers, missing: bool):
    path = write("v3.0")
    first = tables(path)[0]
    table = pq.read_table(first)
    later = pc.greater_equal(table["episode_index"], 1)
    pq.write_table(table.filter(later), first.with_name("file-001.parquet"))
    pq.write_table(table.filter(pc.invert(later)), first)
    if missing:
        change(path / INDEX, data__file_index=[0, 7, 1])
    assert _found(path) == []
    read = _open(path).episodes[1].read()
    assert np.array_equal(read.actions, make_numbers(1, 9, 2))
    (note,) = read.notes
    assert "they are in data/chunk-000/file-001.parquet" in note
    first.with_name("file-001.parquet").unlink()
    assert "has 0 rows of episode 1, meta/ says 9 frames; all" in _found(path)[0].message


def test_a_table_that_kept_the_number_of_another_episode(write, make_numbers):
    path = write("v2.1")
    change(tables(path)[1], episode_index=[40] * 9)
    read = _open(path).episodes[1].read()
    assert np.array_equal(read.actions, make_numbers(1, 9, 2))
    assert read.notes == ("episode_000001.parquet calls itself episode 40; its name counts",)


@pytest.mark.parametrize("count", [7, 0, "three", None])
def test_a_wrong_number_of_episodes_is_a_note(write, version: str, count: object):
    path = write(version)
    change_info(path, total_episodes=count)
    assert _found(path) == []
    (note,) = _found(path, fatal=False)
    assert "meta/ lists 3 episodes, total_episodes of info.json is" in note.message


def test_what_is_not_needed_may_be_missing(write, version: str):
    path = write(version)
    change_info(path, "chunks_size", "robot_type")
    assert _found(path) == []
    file = path / "meta" / "info.json"
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    assert _found(path) == []


def test_the_first_layout_of_2_0(write, make_numbers):
    path = write("v2.1")
    for file in tables(path):  # whose tables were plain too
        pq.write_table(pq.read_table(file), file)
    shapes = {"observation.state": 3, "action": [2]}
    shapes[CAMERA] = {"width": 32, "height": 32, "channels": 3}
    change_info(
        path,
        "features",
        codebase_version="v2.0",
        keys=["observation.state", "action"],
        video_keys=[CAMERA],
        image_keys=[],
        shapes=shapes,
    )
    assert _found(path) == []
    source = _open(path)
    assert source.columns[CAMERA] == "video [32, 32, 3]"
    assert np.array_equal(source.episodes[0].read().actions, make_numbers(0, 6, 2))
    change_info(path, keys=[3])
    with pytest.raises(UserError, match=r"keys holds 3, not a name"):
        _open(path)


@pytest.mark.parametrize("kind", ["*.parquet", "*.mp4"])
def test_pointers_are_bad_episodes(write, kind: str):
    path = write("v2.1")
    for file in (path / ("data" if "parquet" in kind else "videos")).rglob(kind):
        file.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    found = _found(path)
    assert len(found) == len(LENGTHS)
    assert all(POINTER in one.message for one in found)


def test_a_pointer_in_place_of_the_index(write):
    path = write("v3.0")
    (path / INDEX).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    with pytest.raises(UserError, match=r"file-000\.parquet is a Git LFS pointer"):
        _open(path)


def test_sidecars_of_macos_are_left_out(write, version: str):
    path = write(version)
    for file in [one for one in path.rglob("*") if one.is_file()]:
        file.with_name(f"._{file.name}").write_bytes(b"\x00\x05\x16\x07")
    assert _found(path) == []
    assert not any(file.name.startswith(".") for file in _open(path).files)
