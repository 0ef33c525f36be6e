from io import BytesIO
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

from jepawm.data.formats import open_source, recognise
from jepawm.data.recording import ReadOptions, Source
from jepawm.errors import UserError


def write(file: Path, **columns: np.ndarray) -> Path:
    with h5py.File(file, "w") as content:
        content["action"] = np.arange(12.0).reshape(4, 3)
        for name, rows in columns.items():
            content[f"observations/{name.replace('__', '/')}"] = rows
    return file


def source(path: Path, **options: str) -> Source:
    return open_source(path, name=None, options=ReadOptions(**options))


def test_compressed_pictures_are_rows_with_zeros_behind_them(tmp_path: Path):
    pictures = []
    for level in (10, 90, 170, 250):
        buffer = BytesIO()
        Image.fromarray(np.full((16, 24, 3), level, np.uint8)).save(buffer, format="JPEG")
        pictures.append(buffer.getvalue())
    longest = max(map(len, pictures)) + 7
    rows = np.stack([np.frombuffer(one.ljust(longest, b"\0"), np.uint8) for one in pictures])
    write(tmp_path / "episode_0.hdf5", qpos=np.ones((4, 2)), images__cam_high=rows)
    recording = source(tmp_path).episodes[0].read()
    frames = list(recording.frames())
    assert [frame.shape for frame in frames] == [(16, 24, 3)] * 4
    assert [round(float(frame.mean())) for frame in frames] == [10, 90, 170, 250]


def test_columns_are_chosen_and_joined_by_their_names(tmp_path: Path):
    pixels = np.zeros((4, 8, 8, 3), np.uint8)
    file = write(
        tmp_path / "episode_0.hdf5",
        qpos=np.full((4, 2), 1.0),
        qvel=np.full((4, 1), 2.0),
        images__top=pixels,
        images__wrist=pixels,
    )
    with h5py.File(file, "a") as content:
        content["base_action"] = np.full((4, 2), 9.0)
    with pytest.raises(UserError, match="choose one by --camera: top, wrist"):
        source(file)
    keys = {"action_key": "action,base_action", "proprio_key": "qpos,observations/qvel"}
    recording = source(file, camera="wrist", **keys).episodes[0].read()
    assert recording.proprio is not None
    assert (recording.actions[0].tolist(), recording.proprio[0].tolist()) == (
        [0, 1, 2, 9, 9],
        [1, 1, 2],
    )
    assert source(file, camera="top", proprio_key="none").episodes[0].read().proprio is None


def test_an_episode_without_pictures_is_recognised_and_refused(tmp_path: Path):
    write(tmp_path / "episode_0.hdf5", qpos=np.ones((4, 2)))
    assert recognise(tmp_path) == "aloha"
    with pytest.raises(UserError, match="holds no camera; record or render images first"):
        source(tmp_path)


def test_files_of_others_are_left_alone(tmp_path: Path):
    with h5py.File(tmp_path / "some.hdf5", "w") as content:
        content["action"] = np.zeros((4, 2))
        content["observations"] = np.zeros((4, 2))
    with pytest.raises(UserError, match="is of no known format"):
        recognise(tmp_path)
