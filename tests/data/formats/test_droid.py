import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from jepawm.data.checking import Requirements
from jepawm.data.formats import open_source
from jepawm.data.importing import check_source
from jepawm.data.recording import ReadOptions, Source
from jepawm.errors import UserError

METADATA = {"left_mp4_path": "old/place/1.mp4", "current_task": "close the drawer"}


@pytest.fixture
def root(tmp_path: Path, make_frames, make_numbers, make_mp4) -> Path:
    """Write three episodes as DROID does, and a video beside them that is none of theirs."""
    for index in range(3):
        folder = tmp_path / "droid" / f"day{index}"
        make_mp4(folder / "recordings" / "MP4" / "1.mp4", make_frames(index, 5))
        (folder / "metadata.json").write_text(json.dumps(METADATA))
        with h5py.File(folder / "trajectory.h5", "w") as file:
            file["observation/robot_state/cartesian_position"] = make_numbers(index, 5, 6)
            file["observation/robot_state/gripper_position"] = make_numbers(index, 5, 1)[:, 0]
    make_mp4(tmp_path / "secret.mp4", make_frames(0, 5))
    return tmp_path / "droid"


def source(path: Path) -> Source:
    return open_source(path, name="droid", options=ReadOptions())


def bad(path: Path) -> dict[str, str]:
    problems = check_source(source(path), Requirements())
    return {problem.episode: problem.message for problem in problems if problem.fatal}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("-1", "the content is -1, not an object"),
        ("Infinity", "Infinity is no number of JSON"),
        ("[" * 5000, "nested too deep"),
        (json.dumps(METADATA | {"left_mp4_path": 5}), "left_mp4_path is 5, not a text"),
        (json.dumps(METADATA | {"left_mp4_path": "a/.."}), "lies outside of the data set"),
        (json.dumps(METADATA | {"left_mp4_path": "a\0b"}), "is no path"),
        (json.dumps(METADATA | {"current_task": []}), r"current_task is \[\], not a text"),
        (json.dumps({"right_mp4_path": "1.mp4"}), "has no camera 'left'"),
    ],
)
def test_one_description_that_says_something_else(root: Path, content: str, message: str):
    (root / "day0" / "metadata.json").write_text(content)
    if "right" in content:
        (root / "day1" / "metadata.json").write_text(json.dumps(METADATA))
        (root / "day0").rename(root / "day9")  # the first says what cameras there are
    found = bad(root)
    assert len(found) == 1
    with pytest.raises(UserError, match=message):
        raise UserError(*found.values())


def test_links_that_lead_out(root: Path):
    video = root / "day1" / "recordings" / "MP4" / "1.mp4"
    video.unlink()
    video.symlink_to(root.parent / "secret.mp4")
    (root / "day2" / "trajectory.h5").rename(root.parent / "secret.h5")
    (root / "day2" / "trajectory.h5").symlink_to(root.parent / "secret.h5")
    found = bad(root)
    assert [*found] == ["episode 1", "episode 2"]
    assert all("lies outside of the data set" in message for message in found.values())


def test_a_list_of_folders_stays_where_it_is(root: Path, tmp_path: Path):
    listed = tmp_path / "list.csv"
    lines = ["droid/day0 1.0", str(root / "day1"), "", "../elsewhere", "/etc 3", "droid/absent"]
    listed.write_text("\n".join(lines))
    found = bad(listed)
    assert [*found] == ["episode 2", "episode 3", "episode 4"]
    assert "../elsewhere lies outside of the data set (line 4 of" in found["episode 2"]
    assert "/etc lies outside of the data set (line 5 of" in found["episode 3"]
    assert "trajectory.h5 is missing" in found["episode 4"]
    listed.write_text("/etc\n../elsewhere\n")
    with pytest.raises(UserError, match="/etc lies outside"):
        source(listed)
    listed.write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match=r"list\.csv is no list of folders: not UTF-8"):
        source(listed)


@pytest.mark.parametrize("shape", [(5, 2), (4, 1), (5, 1, 1), (0,)])
def test_poses_of_another_shape(root: Path, shape: tuple[int, ...]):
    with h5py.File(root / "day1" / "trajectory.h5", "a") as file:
        del file["observation/robot_state/gripper_position"]
        file["observation/robot_state/gripper_position"] = np.zeros(shape)
    assert [*bad(root)] == ["episode 1"]


@pytest.mark.parametrize("count", [4, 6])
def test_one_frame_more_or_less_is_the_shorter(root: Path, make_frames, make_mp4, count: int):
    make_mp4(root / "day1" / "recordings" / "MP4" / "1.mp4", make_frames(1, count))
    problems = check_source(source(root), Requirements())
    (note,) = [one for one in problems if "frames, the table 5 rows" in one.message]
    assert not note.fatal
    assert note.episode == "episode 1"
    assert bad(root) == {}
    read = source(root).episodes[1].read()
    assert (read.num_frames, len(read.actions)) == (min(count, 5), min(count, 5) - 1)
    assert len(list(read.frames())) == read.count_frames() == min(count, 5)
    make_mp4(root / "day1" / "recordings" / "MP4" / "1.mp4", make_frames(1, 2 * count - 5))
    assert "frames, " in bad(root)["episode 1"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("0_timestamps.json", "[1, 2, 3]"),
        ("calibration.json", '{"left": [0.5]}'),
        ("damaged.json", "{"),
        ("._metadata.json", "\0"),
    ],
)
def test_the_description_is_what_names_cameras(root: Path, name: str, content: str):
    for folder in root.iterdir():
        (folder / name).write_text(content)
    assert bad(root) == {}
    (root / "day1" / "metadata.json").unlink()
    found = bad(root)["episode 1"]
    assert any(
        one in found for one in ("holds no *.json that names its", "truncated", "not an object")
    )
