from pathlib import Path

import h5py
import numpy as np
import pytest

from jepawm.data.formats import open_source, recognise
from jepawm.data.recording import ReadOptions, Source
from jepawm.errors import UserError


def write(file: Path, *, pictures: bool = True, **columns: np.ndarray) -> Path:
    with h5py.File(file, "w") as content:
        content["actions"] = np.arange(8.0)[:, None]
        content["observations"] = np.arange(16.0).reshape(8, 2)
        if pictures:
            levels = np.arange(8, dtype=np.uint8)[:, None, None, None]
            content["pixels"] = np.broadcast_to(levels, (8, 6, 6, 3))
        for name, rows in columns.items():
            content[name] = rows
    return file


def source(path: Path, **options: str) -> Source:
    return open_source(path, name=None, options=ReadOptions(**options))


def flags(*rows: int) -> np.ndarray:
    return np.isin(np.arange(8), rows)


def test_episodes_end_where_either_flag_says(tmp_path: Path):
    write(tmp_path / "maze.hdf5", terminals=flags(2), timeouts=flags(5))
    recordings = [episode.read() for episode in source(tmp_path).episodes]
    assert [one.actions[:, 0].tolist() for one in recordings] == [[0, 1, 2], [3, 4, 5], [6, 7]]
    frames = [[int(frame[0, 0, 0]) for frame in one.frames()] for one in recordings]
    assert frames == [[0, 1, 2], [3, 4, 5], [6, 7]]


def test_an_end_in_the_last_row_adds_no_empty_episode(tmp_path: Path):
    write(tmp_path / "maze.hdf5", terminals=flags(3, 7))
    assert [one.read().num_frames for one in source(tmp_path).episodes] == [4, 4]


def test_proprioception_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    write(tmp_path / "maze.hdf5", terminals=flags(3))
    assert source(tmp_path).episodes[1].read().proprio is None
    assert "--proprio-key takes some of: observations" in caplog.text
    proprio = source(tmp_path, proprio_key="observations").episodes[1].read().proprio
    assert proprio is not None
    assert proprio[0].tolist() == [8, 9]


def test_states_alone_are_recognised_and_say_what_to_do(tmp_path: Path):
    write(tmp_path / "halfcheetah.hdf5", pictures=False, terminals=flags(), timeouts=flags(3))
    assert recognise(tmp_path) == "d4rl"
    with pytest.raises(UserError, match=r"D4RL data set of states without pictures; render each"):
        source(tmp_path)
