from pathlib import Path

import numpy as np
import pytest
import torch

from jepawm.data.episodes import EpisodeStore, open_store
from jepawm.data.jpeg_frames import JpegFrames
from jepawm.data.windows import Windows
from jepawm.data.writer import EpisodeWriter
from jepawm.errors import UserError

SIZE = 144
LENGTHS = (6, 9)


def frames_of(episode: int, num_frames: int) -> np.ndarray:
    """Smooth pictures, brighter with time, other colours in each episode."""
    ramp = np.linspace(0, 100, SIZE)
    frames = np.empty((num_frames, 3, SIZE, SIZE), np.uint8)
    for t in range(num_frames):
        frames[t, 0] = ramp + 10 * t
        frames[t, 1] = ramp[:, None] + 40 * episode
        frames[t, 2] = 90
    return frames


@pytest.fixture
def store(tmp_path: Path) -> EpisodeStore:
    path = tmp_path / "store"
    with EpisodeWriter(path, environment="toy", image_size=SIZE, settings={}) as writer:
        for episode, length in enumerate(LENGTHS):
            actions = np.arange(2 * length, dtype=np.float32).reshape(length, 2)
            writer.append(frames_of(episode, length), actions)
    return open_store(path)


def test_large_frames_are_jpeg_and_read_back_within_its_loss(store: EpisodeStore):
    assert store.manifest.pixel_encoding == "jpeg"
    truth = np.concatenate([frames_of(e, n) for e, n in enumerate(LENGTHS)]).astype(int)
    frames = store.frames(np.arange(15))
    assert frames.shape == truth.shape
    assert np.abs(frames - truth).max() <= 6
    assert sum(file.stat().st_size for file in store.path.glob("pixel*")) < truth.size / 5


def test_many_frames_in_any_order_equal_single_ones(store: EpisodeStore):
    rows = np.array([[14, 0, 3], [3, 7, 7], [1, 2, 13]])
    together = store.frames(rows)
    assert together.shape == (3, 3, 3, SIZE, SIZE)
    for index in np.ndindex(rows.shape):
        assert np.array_equal(together[index], store.frames(rows[index].reshape(1))[0])


def test_windows_read_both_encodings_alike(store: EpisodeStore, tmp_path: Path):
    with EpisodeWriter(
        tmp_path / "raw", environment="toy", image_size=SIZE, settings={}, pixels="raw"
    ) as writer:
        for start, length in zip(store.starts, store.lengths, strict=True):
            rows = np.arange(start, start + length)
            writer.append(store.frames(rows), np.array(store.actions[rows]))
    raw = open_store(tmp_path / "raw")
    assert raw.manifest.pixel_encoding == "raw"
    batches = [
        Windows(
            one, episodes=[0, 1], num_steps=2, frameskip=2, normalizer=store.normalizer()
        ).batch(torch.tensor([0, 3, 5]))
        for one in (store, raw)
    ]
    assert torch.equal(batches[0].obs.pixels, batches[1].obs.pixels)
    assert torch.equal(batches[0].actions, batches[1].actions)


def test_same_frames_same_bytes(store: EpisodeStore, tmp_path: Path):
    with EpisodeWriter(tmp_path / "b", environment="toy", image_size=SIZE, settings={}) as writer:
        for episode, length in enumerate(LENGTHS):
            actions = np.arange(2 * length, dtype=np.float32).reshape(length, 2)
            writer.append(frames_of(episode, length), actions)
    for name in ("pixels.npy", "pixel_sizes.npy", "manifest.json"):
        assert (tmp_path / "b" / name).read_bytes() == (store.path / name).read_bytes()


def test_a_damaged_picture_is_named(store: EpisodeStore):
    assert isinstance(store.pixels, JpegFrames)
    pictures = np.array(store.pixels.pictures)
    pictures[int(store.pixels.sizes[0]) :][:200] = 0
    damaged = JpegFrames(
        file=store.path / "pixels.npy",
        pictures=pictures,
        sizes=store.pixels.sizes,
        image_size=SIZE,
    )
    damaged.read(np.array([0]))
    with pytest.raises(UserError, match=r"pixels\.npy: frame 1 is damaged"):
        damaged.read(np.array([1]))


def test_missing_sizes(store: EpisodeStore):
    (store.path / "pixel_sizes.npy").unlink()
    with pytest.raises(UserError, match=r"pixel_sizes\.npy is missing"):
        open_store(store.path)
