"""What `meta/` of a LeRobot data set may not say."""

import json
import os
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jepawm.data.checking import Requirements
from jepawm.data.formats import open_source
from jepawm.data.importing import check_source
from jepawm.data.recording import ReadOptions, Source
from jepawm.errors import UserError

NUM_EPISODES = 3


def _open(path: Path) -> Source:
    return open_source(path, name=None, options=ReadOptions())


def change_info(path: Path, **entries: object) -> None:
    file = path / "meta" / "info.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | entries))


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"fps": "10"}, "fps is '10', not a finite number"),
        ({"codebase_version": 3}, "codebase_version is 3, not a text"),
        ({"robot_type": ["arm"]}, r"robot_type is \['arm'\], not a text"),
        ({"features": [1]}, r"features is \[1\], not an object"),
        ({"features": {"a": None}}, "feature a: its entry is None, not an object"),
        ({"features": {"a": {"dtype": 0, "shape": []}}}, "dtype is 0, not a text"),
        ({"features": {"a": {"dtype": "f", "shape": ["x"]}}}, "shape is 'x', not a whole number"),
        ({"features": {"a": {"dtype": "f", "shape": 3}}}, "shape is 3, not a list"),
        ({"data_path": None}, "data_path is None, not a text"),
        ({"data_path": 5}, "data_path is 5, not a text"),
        ({"video_path": 5}, "video_path is 5, not a text"),
        ({"data_path": "{"}, "data_path is '{' .*; copy it again"),
        ({"data_path": "data/{}.parquet"}, "data_path has the field .* in the form ''"),
        ({"data_path": "data/{0}.parquet"}, "data_path has the field .*'0'"),
        ({"data_path": "{file_index.__class__}"}, "has the field .*'file_index.__class__'"),
        ({"data_path": "{file_index[0]}"}, r"has the field .*'file_index\[0\]'"),
        ({"data_path": "{file_index!r}"}, "has the field .*'file_index'"),
        ({"data_path": "{file_index:>9}"}, "in the form '>9'"),
        ({"data_path": "{file_index:{file_index}}"}, "in the form '{file_index}'"),
        ({"video_path": "{video_key:99}"}, "in the form '99'"),
        ({"data_path": "{file_index:01000000000d}"}, "claims 1000000000 bytes for the field"),
        ({"data_path": "{file_index:099d}"}, "claims 99 bytes for the field file_index"),
    ],
)
def test_entries_of_another_kind(write, entries: dict[str, object], message: str):
    path = write("v3.0")
    change_info(path, **entries)
    with pytest.raises(UserError, match=rf"info\.json.*{message}"):
        _open(path)


@pytest.mark.parametrize("size", [0, 1.5, "1000"])
def test_episodes_of_a_folder_are_a_whole_number(write, size: object):
    path = write("v2.1")
    change_info(path, chunks_size=size)
    with pytest.raises(UserError, match=rf"info\.json.*chunks_size is {size!r}, not a"):
        _open(path)


@pytest.mark.parametrize(
    ("where", "reason"),
    [
        ("../secret/{chunk}.parquet", r"\.\./secret/0\.parquet lies outside of the data set"),
        ("/etc/{chunk}", "/etc/0 lies outside of the data set"),
        ("data/../../x{chunk}", r"x0 lies outside"),
        (
            "{episode_index}{chunk_index}",
            "has the field '.*', which its version of LeRobot does not",
        ),
        ("data/\0{chunk}", "is no path"),
        ("x" * 300, "is a path that is too long"),
    ],
)
def test_paths_stay_in_the_data_set(write, version: str, where: str, reason: str):
    path = write(version)
    chunk = "{chunk_index}" if version == "v3.0" else "{episode_chunk}"
    for name in ("data_path", "video_path"):
        path = path.rename(path.with_name(name))
        before = (path / "meta" / "info.json").read_text()
        change_info(path, **{name: where.replace("{chunk}", chunk)})
        problems = check_source(_open(path), Requirements())
        assert len(problems) == NUM_EPISODES
        assert all(re.search(reason, problem.message) for problem in problems)
        assert all(name in problem.message for problem in problems)
        (path / "meta" / "info.json").write_text(before)


def test_a_camera_is_no_way_out(write):
    path = write("v3.0", ("../../top",))
    problems = check_source(_open(path), Requirements())
    assert len(problems) == NUM_EPISODES
    assert "top/chunk-000/file-000.mp4 lies outside of the data set" in problems[0].message


def test_links_that_lead_out(write, version: str):
    path = write(version)
    video = next((path / "videos").rglob("*.mp4"))
    video.rename(path.parent / "else.mp4")
    video.symlink_to(path.parent / "else.mp4")
    problems = check_source(_open(path), Requirements())
    assert problems
    assert all("lies outside of the data set" in problem.message for problem in problems)


def test_links_of_a_hugging_face_cache(write, version: str, tmp_path: Path):
    path = write(version)
    cache = tmp_path / "datasets--who--what"
    (cache / "blobs").mkdir(parents=True)
    for number, file in enumerate(sorted(path.rglob("*.*"))):
        if file.is_file():
            link = cache / "snapshots" / "1a2b" / file.relative_to(path)
            link.parent.mkdir(parents=True, exist_ok=True)
            file.rename(cache / "blobs" / str(number))
            link.symlink_to(Path(os.path.relpath(cache / "blobs" / str(number), link.parent)))
    source = _open(cache / "snapshots" / "1a2b")
    assert check_source(source, Requirements()) == []
    assert len(source.files) > NUM_EPISODES


def test_one_garbled_row_leaves_the_others(write, version: str):
    path = write(version)
    if version == "v3.0":
        file = path / "meta/episodes/chunk-000/file-000.parquet"
        table = pq.read_table(file).to_pylist()
        table[1]["length"] = None
        pq.write_table(pa.Table.from_pylist(table), file)
    else:
        file = path / "meta" / "episodes.jsonl"
        lines = file.read_text().splitlines()
        lines[1] = lines[1].replace('"length": 9', '"length": -9')
        file.write_text("\n".join(lines))
    problems = check_source(_open(path), Requirements())
    assert [problem.episode for problem in problems] == [f"row 1 of {file.name}"]
    assert "length of an episode is" in problems[0].message


def test_an_episode_that_is_listed_twice(write):
    path = write("v2.1")
    file = path / "meta" / "episodes.jsonl"
    file.write_text(file.read_text().replace('"episode_index": 1', '"episode_index": 0'))
    with pytest.raises(UserError, match="lists an episode twice"):
        _open(path)
