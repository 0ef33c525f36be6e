import json
from io import BytesIO
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

from jepawm.data.checking import Requirements
from jepawm.data.formats import open_source
from jepawm.data.importing import check_source
from jepawm.data.recording import ReadOptions, Source
from jepawm.errors import UserError


@pytest.fixture
def path(tmp_path: Path, make_frames, make_numbers) -> Path:
    """Write eleven episodes as Minari 0.5.4 does: JPEG pictures, episode_10 before episode_2."""
    (tmp_path / "data").mkdir()
    metadata = {"dataset_id": "toy/push-v0", "data_format": "hdf5", "jpeg_encoding": True}
    (tmp_path / "data" / "metadata.json").write_text(json.dumps(metadata))
    with h5py.File(tmp_path / "data" / "main_data.hdf5", "w") as file:
        for index in range(11):
            episode = file.create_group(f"episode_{index}")
            episode["actions"] = make_numbers(index, 3, 2)
            pictures = [jpeg(frame) for frame in make_frames(index % 5, 4)]
            kind = h5py.vlen_dtype(np.uint8)
            data = episode.create_dataset("observations/pixels", 4, dtype=kind)
            for t, picture in enumerate(pictures):
                data[t] = picture
    return tmp_path


def jpeg(frame: np.ndarray) -> np.ndarray:
    buffer = BytesIO()
    Image.fromarray(frame).save(buffer, format="JPEG")
    return np.frombuffer(buffer.getvalue(), np.uint8)


def source(path: Path, **options: str) -> Source:
    return open_source(path, name=None, options=ReadOptions(**options))


def test_pictures_are_decoded_and_episodes_in_order(path: Path, make_frames, make_numbers):
    opened = source(path)
    assert [episode.name for episode in opened.episodes][-2:] == ["episode_9", "episode_10"]
    recording = opened.episodes[10].read()
    assert np.array_equal(recording.actions, make_numbers(10, 3, 2))
    assert recording.proprio is None
    frames = np.stack(list(recording.frames())).astype(int)
    assert recording.num_frames == recording.count_frames() == 4
    assert np.abs(frames - make_frames(0, 4)).mean() < 6


def test_no_pictures_and_whole_number_actions(path: Path):
    with h5py.File(path / "data" / "main_data.hdf5", "a") as file:
        del file["episode_0/actions"]
        file["episode_0/actions"] = np.array([1, 2, 3])
    problems = check_source(source(path), Requirements())
    assert [one.episode for one in problems if one.fatal] == ["episode_0"]
    assert "whole numbers from 1 to 3 in one column" in problems[0].message
    with h5py.File(path / "data" / "main_data.hdf5", "a") as file:
        del file["episode_0/observations/pixels"]
    assert source(path).cameras  # the others have some
    with h5py.File(path / "data" / "main_data.hdf5", "a") as file:
        for name in set(file) - {"episode_0"}:
            del file[f"{name}/observations/pixels"]
    with pytest.raises(UserError, match="holds no image observations; record them"):
        source(path)


def test_other_storage_is_refused(path: Path):
    (path / "data" / "metadata.json").write_text(json.dumps({"data_format": "arrow"}))
    with pytest.raises(UserError, match="is kept as 'arrow'; save it with data_format='hdf5'"):
        source(path)
