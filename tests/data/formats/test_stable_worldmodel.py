from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

from jepawm.data.checking import Requirements
from jepawm.data.formats import open_source, recognise
from jepawm.data.importing import check_source
from jepawm.data.recording import ReadOptions, Source
from jepawm.errors import UserError

LENGTHS = (3, 4)


def levels() -> np.ndarray:
    return np.arange(sum(LENGTHS), dtype=np.uint8)


def write_file(file: Path, *, colours_first: bool = False, **more: np.ndarray) -> Path:
    pixels = np.broadcast_to(levels()[:, None, None, None], (7, 6, 8, 3))
    with h5py.File(file, "w") as content:
        content["pixels"] = pixels.transpose(0, 3, 1, 2) if colours_first else pixels
        content["action"] = np.arange(14.0, dtype=np.float32).reshape(7, 2)
        content["ep_len"] = np.array(LENGTHS)
        for name, rows in more.items():
            content[name] = rows
    return file


def write_folder(path: Path, *, suffix: str = ".jpeg") -> Path:
    columns = {
        "ep_len": np.array(LENGTHS),
        "ep_offset": np.array([0, 3]),
        "action": np.arange(14.0).reshape(7, 2),
        "proprio": np.arange(7.0),
        "state": np.arange(21.0).reshape(7, 3),
    }
    for name, rows in columns.items():
        np.savez(path / f"{name}.npz", rows)
    (path / "pixels").mkdir()
    for episode, length in enumerate(LENGTHS):
        for step in range(length):
            level = 20 * (3 * episode + step)
            picture = Image.fromarray(np.full((8, 8, 3), level, np.uint8))
            picture.save(path / "pixels" / f"ep_{episode}_step_{step}{suffix}")
    return path


def source(path: Path, **options: str) -> Source:
    return open_source(path, name=None, options=ReadOptions(**options))


@pytest.mark.parametrize("colours_first", [False, True])
def test_episodes_lie_one_behind_the_other(tmp_path: Path, colours_first: bool):
    file = write_file(tmp_path / "tworoom.h5", colours_first=colours_first)
    opened = source(file)
    recordings = [episode.read() for episode in opened.episodes]
    frames = [[int(frame[0, 0, 0]) for frame in one.frames()] for one in recordings]
    assert frames == [[0, 1, 2], [3, 4, 5, 6]]
    assert [one.actions[:, 0].tolist() for one in recordings] == [[0, 2, 4], [6, 8, 10, 12]]
    assert next(iter(recordings[0].frames())).shape == (6, 8, 3)
    assert recordings[0].proprio is None


def test_offsets_say_where_episodes_are(tmp_path: Path):
    file = write_file(tmp_path / "a.h5", ep_offset=np.array([4, 0]))
    recordings = [episode.read() for episode in source(file).episodes]
    assert [one.actions[0, 0] for one in recordings] == [8, 0]


def test_an_action_after_the_end_is_no_number(tmp_path: Path):
    file = write_file(tmp_path / "a.h5")
    with h5py.File(file, "a") as content:
        content["action"][2], content["action"][6] = np.nan, np.nan
    assert [len(episode.read().actions) for episode in source(file).episodes] == [2, 3]
    assert [one for one in check_source(source(file), Requirements()) if one.fatal] == []


def test_proprioception_is_named_or_said(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    file = write_file(tmp_path / "a.h5", qpos=np.full((7, 2), 5.0), reward=np.zeros(7))
    assert source(file).episodes[0].read().proprio is None
    assert "--proprio-key takes some of: qpos" in caplog.text
    proprio = source(file, proprio_key="qpos").episodes[1].read().proprio
    assert proprio is not None
    assert proprio.tolist() == [[5, 5]] * 4
    with pytest.raises(UserError, match="no column 'joints'; choose among: action, pixels, qpos"):
        source(file, proprio_key="joints").episodes[0].read()


@pytest.mark.parametrize("suffix", [".jpeg", ".png"])
def test_a_folder_of_columns_and_pictures(tmp_path: Path, suffix: str):
    opened = source(write_folder(tmp_path, suffix=suffix))
    assert (opened.format, opened.cameras) == ("stable-worldmodel", ["pixels"])
    recordings = [episode.read() for episode in opened.episodes]
    frames = [[round(float(frame.mean())) for frame in one.frames()] for one in recordings]
    assert frames == [[0, 20, 40], [60, 80, 100, 120]]
    assert recordings[1].proprio is not None
    assert recordings[1].state is not None
    assert recordings[1].proprio[:, 0].tolist() == [3, 4, 5, 6]
    assert recordings[1].state[0].tolist() == [9, 10, 11]


def test_a_folder_of_videos(tmp_path: Path, make_mp4, make_frames):
    write_folder(tmp_path)
    for picture in (tmp_path / "pixels").iterdir():
        picture.unlink()
    for episode, length in enumerate(LENGTHS):
        make_mp4(tmp_path / "pixels" / f"ep_{episode}.mp4", make_frames(episode, length), fps=15)
    opened = source(tmp_path)
    assert opened.fps == 15
    assert [one for one in check_source(opened, Requirements()) if one.fatal] == []


def test_a_missing_picture_and_wrong_lengths_are_said(tmp_path: Path):
    write_folder(tmp_path)
    (tmp_path / "pixels" / "ep_1_step_2.jpeg").unlink()
    problems = check_source(source(tmp_path), Requirements())
    assert [one.episode for one in problems if one.fatal] == ["episode 1"]
    np.savez(tmp_path / "ep_len.npz", np.array([3, 400]))
    np.savez(tmp_path / "ep_offset.npz", np.array([0, 3, 5]))
    with pytest.raises(UserError, match="ep_len has 2 episodes, ep_offset 3"):
        source(tmp_path)
    (tmp_path / "ep_offset.npz").unlink()
    problems = check_source(source(tmp_path), Requirements())
    assert {one.episode for one in problems if one.fatal} == {"episode 1"}


def test_several_files_are_several_data_sets(tmp_path: Path):
    for name in ("a", "b"):
        write_file(tmp_path / f"{name}.h5")
    assert recognise(tmp_path) == "stable-worldmodel"
    with pytest.raises(UserError, match=r"holds several HDF5 files, or none; give one of: a\.h5"):
        source(tmp_path)
