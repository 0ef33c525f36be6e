import os
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pc
import pytest
from PIL import Image

from jepawm.data.checking import Requirements
from jepawm.data.formats import open_source
from jepawm.data.importing import check_source
from jepawm.data.recording import ReadOptions
from jepawm.errors import UserError


@pytest.fixture
def folder(tmp_path: Path, make_frames, make_mp4) -> Path:
    """Two episodes of 6 and 9 frames at 10 frames per second."""
    names = ["a"] * 6 + ["b"] * 9
    table = {"episode": names, "action_x": [0.1 * row for row in range(15)]}
    pc.write_csv(pa.table(table), tmp_path / "actions.csv")
    make_mp4(tmp_path / "a.mp4", make_frames(0, 6))
    make_mp4(tmp_path / "b.mp4", make_frames(1, 9))
    return tmp_path


def _problems(path: Path) -> list[str]:
    source = open_source(path, name=None, options=ReadOptions())
    problems = check_source(source, Requirements())
    return [problem.to_text() for problem in problems if problem.fatal]


def test_good_folders_have_no_problems(folder: Path):
    assert _problems(folder) == []


def test_the_first_video_may_be_missing_or_damaged_as_any_other(folder: Path):
    content = (folder / "a.mp4").read_bytes()
    (folder / "a.mp4").write_bytes(content[:300])
    assert len(_problems(folder)) == 1
    assert "a.mp4 is truncated or damaged" in _problems(folder)[0]
    (folder / "a.mp4").unlink()
    assert len(_problems(folder)) == 1
    assert "episode a: " in _problems(folder)[0]
    assert "has no a.mp4 and no folder a/ of images; add it" in _problems(folder)[0]
    (folder / "b.mp4").unlink()
    with pytest.raises(UserError, match=r"holds no frames: there is no a\.mp4 and no folder a/"):
        open_source(folder, name=None, options=ReadOptions())


def test_another_frame_rate(folder: Path, make_frames, make_mp4):
    make_mp4(folder / "b.mp4", make_frames(1, 9), fps=15)
    problems = _problems(folder)
    assert len(problems) == 1
    assert "episode b: 15 frames per second, others have 10; " in problems[0]


@pytest.mark.parametrize("episode", ["a", "b"])
def test_a_link_of_a_name_too_long_is_that_episode(folder: Path, episode: str):
    (folder / f"{episode}.mp4").unlink()
    (folder / f"{episode}.mp4").symlink_to("x" * 4000)
    (problem,) = _problems(folder)
    assert f"episode {episode}: " in problem
    assert "File name too long" in problem


def outside(path: Path) -> Path:
    """Two images beside the data set, under a name that a table could give."""
    folder = path.parent / "secret"
    folder.mkdir()
    for name in ("0.png", "1.png"):
        Image.new("RGB", (8, 8), (1, 2, 3)).save(folder / name)
    return folder


@pytest.mark.parametrize("absolute", [True, False])
def test_an_episode_lies_in_the_folder(tmp_path: Path, make_frames, make_mp4, absolute: bool):
    folder = tmp_path / "data"
    folder.mkdir()
    secret = outside(folder)
    name = str(secret) if absolute else "../secret"
    table = {"episode": [name, name, "b", "b"], "action_x": [0.5, 1.0, 2.0, 3.0]}
    pc.write_csv(pa.table(table), folder / "actions.csv")
    make_mp4(folder / "b.mp4", make_frames(0, 2))
    found, *more = _problems(folder)
    assert more == []
    assert "lies outside of the data set (episode of " in found


def test_links_of_episodes_stay_in_the_folder(
    tmp_path: Path, make_frames, make_mp4, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("JEPAWM_DATA", str(tmp_path / "elsewhere"))
    folder = tmp_path / "data"
    folder.mkdir()
    secret = outside(folder)
    names = ["b", "images", "pictures", "videos"]
    table = {"episode": names * 2, "action_x": [0.1 * row for row in range(8)]}
    pc.write_csv(pa.table(table), folder / "actions.csv")
    make_mp4(folder / "b.mp4", make_frames(0, 2))
    make_mp4(tmp_path / "out.mp4", make_frames(0, 2))
    (folder / "images").symlink_to(secret)
    (folder / "pictures").mkdir()
    for file in secret.iterdir():
        (folder / "pictures" / file.name).symlink_to(file)
    (folder / "videos.mp4").symlink_to(tmp_path / "out.mp4")
    found = _problems(folder)
    assert len(found) == 3
    assert all("lies outside of the data set" in text for text in found)


def names_of_episodes(folder: Path, *names: str) -> None:
    rows = [f"{name},{step}.5" for name in names for step in range(6)]
    (folder / "actions.csv").write_text("\n".join(["episode,action_x", *rows]) + "\n")


@pytest.mark.parametrize(
    "name", ["x" * 300, "a/" * 2500, "-", "*", "\x1b[2J", "b c", "~", "nan", "b/"]
)
def test_odd_names_are_bad_episodes(folder: Path, name: str):
    names_of_episodes(folder, name, "a")
    found, *more = _problems(folder)
    assert more == []
    assert "\x1b" not in found


@pytest.mark.parametrize("kind", ["pipe", "folder", "link to nothing"])
def test_a_picture_is_a_file(folder: Path, make_frames, kind: str):
    (folder / "b.mp4").unlink()
    (folder / "b").mkdir()
    for step in range(9):
        file = folder / "b" / f"{step}.png"
        if step != 4:
            Image.fromarray(make_frames(1, 1)[0]).save(file)
        elif kind == "pipe":
            os.mkfifo(file)
        elif kind == "folder":
            file.mkdir()
        else:
            file.symlink_to("nothing")
    source = open_source(folder, name=None, options=ReadOptions())
    with pytest.raises(UserError, match=rf"4\.png is a {kind}"):
        list(source.episodes[1].read().frames())


@pytest.mark.parametrize("kind", ["pipe", "folder", "link to nothing"])
def test_a_table_is_a_file(folder: Path, kind: str):
    (folder / "actions.csv").unlink()
    if kind == "pipe":
        os.mkfifo(folder / "actions.csv")
    elif kind == "folder":
        (folder / "actions.csv").mkdir()
    else:
        (folder / "actions.csv").symlink_to("nothing")
    with pytest.raises(UserError, match=rf"actions\.csv is a {kind}"):
        _problems(folder)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"episode,action_x,action_x\na,1,2\n", "has several columns action_x"),
        (b"episode,action_x,t\xe4sk\na,1,2\n", "a name of a column is not UTF-8"),
        (b"episode,action_x,task\na,1,t\xe4sk\n", "task is not UTF-8"),
        (b"episode,action_x\na\n", "damaged or no CSV table"),
        (b"", "damaged or no CSV table"),
        (b"episode\n", "holds no frames|holds no"),
        (b"\x00\x01", "actions.csv"),
        (b"episode,action_x\n2020-01-01,3\n", "no 2020-01-01.mp4 .* there is: a.mp4, b.mp4; add"),
    ],
)
def test_tables_that_are_none(folder: Path, content: bytes, message: str):
    (folder / "actions.csv").write_bytes(content)
    with pytest.raises(UserError, match=message):
        _problems(folder)


def test_a_bad_table_of_one_episode(tmp_path: Path, make_frames, make_mp4):
    for name in ("a", "b", "c"):
        make_mp4(tmp_path / f"{name}.mp4", make_frames(0, 3))
        (tmp_path / f"{name}.csv").write_text("action_x\n0.5\n1\n2\n")
    for name in ("a", "b"):
        (tmp_path / f"{name}.csv").write_bytes(b"action_x,\xe4\n0,1\n")
        found, *more = _problems(tmp_path)
        assert more == []
        assert f"{name}.csv: a name of a column is not UTF-8" in found
        (tmp_path / f"{name}.csv").write_text("action_x\n0.5\n1\n2\n")


def pictures(folder: Path, count: int = 6) -> None:
    """Write frames, and what macOS and Windows leave beside them."""
    folder.mkdir(parents=True)
    for step in range(count):
        Image.new("RGB", (8, 8), (step, 2, 3)).save(folder / f"{step}.png")
        (folder / f"._{step}.png").write_bytes(b"\x00\x05\x16\x07")
    for name in (".DS_Store", "Thumbs.db"):
        (folder / name).write_bytes(b"\x00")


def table(*episodes: str, columns: str = "action_x,proprio_j", count: int = 6) -> str:
    width = len(columns.split(","))
    numbers = [",".join([f"{step}.5"] * width) for step in range(count)]
    rows = [f"{name},{one}" if name else one for name in episodes for one in numbers]
    return "\n".join([f"episode,{columns}" if episodes[0] else columns, *rows]) + "\n"


def test_episodes_are_texts_and_come_by_their_numbers(tmp_path: Path):
    names = ("000", "001", "010", "9")
    for name in names:
        pictures(tmp_path / name)
    (tmp_path / "._actions.csv").write_bytes(b"\x00")
    (tmp_path / "actions.csv").write_text(table("010", "9", "001", "000"))
    source = open_source(tmp_path, name=None, options=ReadOptions())
    assert [one.name for one in source.episodes] == [
        f"episode {name}" for name in ("000", "001", "9", "010")
    ]
    assert _problems(tmp_path) == []
    (tmp_path / "actions.csv").write_text(table("0", "1"))
    with pytest.raises(UserError, match=r"no folder 0/ of images.*there is: 000/, 001/, 9/, 010/"):
        open_source(tmp_path, name=None, options=ReadOptions())


@pytest.mark.parametrize("place", [".", "images", "front.mp4"])
def test_a_table_in_the_folder_of_each_episode(tmp_path: Path, make_frames, make_mp4, place: str):
    for name in ("ep1", "ep2", "ep10"):
        if place.endswith(".mp4"):
            make_mp4(tmp_path / name / place, make_frames(0, 6))
        else:
            pictures(tmp_path / name / place)
        (tmp_path / name / "actions.csv").write_text(table(""))
    source = open_source(tmp_path, name=None, options=ReadOptions())
    assert [one.name for one in source.episodes] == ["episode ep1", "episode ep2", "episode ep10"]
    assert source.camera == {".": "frames", "images": "images", "front.mp4": "front"}[place]
    assert _problems(tmp_path) == []
    assert source.episodes[0].read().actions[:, 0].tolist() == [step + 0.5 for step in range(6)]


STATE = "state_j1,state_j2"
KINDS = {
    f"action_x,action_timestamp,{STATE}": (1, 2, None),
    f"action_x,proprio_j,{STATE}": (1, 1, 2),
    "Action_x,action_y,other": (2, None, None),
}


@pytest.mark.parametrize("columns", KINDS)
def test_what_became_of_each_column_is_said(tmp_path: Path, columns: str):
    pictures(tmp_path / "a")
    (tmp_path / "actions.csv").write_text(table("a", columns=columns))
    source = open_source(tmp_path, name=None, options=ReadOptions())
    read = source.episodes[0].read()
    widths = [None if rows is None else rows.shape[1] for rows in (read.proprio, read.state)]
    assert (read.actions.shape[1], *widths) == KINDS[columns]
    (note,) = source.notes
    for name in columns.split(","):
        assert name in note
    if "timestamp" in columns:
        assert note.endswith("left out: action_timestamp)")


def test_times_of_the_table_agree_with_the_video(folder: Path):
    for start, rate, bad in ((0.0, 10, False), (1.7e9, 10, False), (0.0, 25, True)):
        lines = ["episode,timestamp,action_x"]
        for name, count in (("a", 6), ("b", 9)):
            lines += [f"{name},{start + step / rate:.3f},0.{step}" for step in range(count)]
        (folder / "actions.csv").write_text("\n".join(lines) + "\n")
        problems = _problems(folder)
        assert len(problems) == (2 if bad else 0)
        assert all("10 frames per second, the timestamps of" in one for one in problems)
