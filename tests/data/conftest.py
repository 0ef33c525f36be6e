"""A small store with numbers that tell where they come from."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from jepawm.data.episodes import EpisodeStore, open_store
from jepawm.data.writer import EpisodeWriter

SIZE = 4
LENGTHS = (6, 9, 4)


def episode_arrays(episode: int, num_frames: int) -> dict[str, np.ndarray]:
    """Frame t of episode e is filled with 20 e + t; its state is (e, t); action t is (t, -e)."""
    t = np.arange(num_frames)
    e = np.full(num_frames, episode)
    fill = (20 * episode + t).astype(np.uint8)
    return {
        "pixels": np.broadcast_to(fill[:, None, None, None], (num_frames, 3, SIZE, SIZE)).copy(),
        "actions": np.stack([t, -e], axis=1)[:-1].astype(np.float32),
        "proprio": np.stack([t, e, t * e], axis=1).astype(np.float32),
        "state": np.stack([e, t], axis=1).astype(np.float64),
    }


def write(path: Path, lengths: tuple[int, ...] = LENGTHS) -> Path:
    with EpisodeWriter(
        path, environment="toy", image_size=SIZE, settings={"speed": 0.5}, seed=7
    ) as writer:
        for episode, num_frames in enumerate(lengths):
            arrays = episode_arrays(episode, num_frames)
            writer.append(
                arrays["pixels"],
                arrays["actions"],
                proprio=arrays["proprio"],
                state=arrays["state"],
            )
    return path


@pytest.fixture
def store_path(tmp_path: Path) -> Path:
    return write(tmp_path / "store")


@pytest.fixture
def store(store_path: Path) -> EpisodeStore:
    return open_store(store_path)


@pytest.fixture
def make_store(tmp_path: Path) -> Callable[..., EpisodeStore]:
    def make(lengths: tuple[int, ...], name: str = "made") -> EpisodeStore:
        return open_store(write(tmp_path / name, lengths))

    return make


@pytest.fixture
def make_episode() -> Callable[[int, int], dict[str, np.ndarray]]:
    return episode_arrays
