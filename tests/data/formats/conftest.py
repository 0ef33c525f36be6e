"""Small real data sets of other projects' layouts, written by the libraries that they use."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

SIDE = 32


def moving_frames(episode: int, num_frames: int, *, side: int = SIDE) -> np.ndarray:
    """Frame t of episode e: grey, brighter with t, tinted by e; survives a lossy codec."""
    t = np.arange(num_frames)
    frames = np.zeros((num_frames, side, side, 3), np.uint8)
    frames[..., 0] = (20 + 8 * t)[:, None, None]
    frames[..., 1] = 40 * episode
    frames[:, : side // 2, :, 2] = 128
    return frames


def write_mp4(path: Path, frames: np.ndarray, *, fps: int = 10, gop: int = 4) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        options = {"g": str(gop), "crf": "4"}
        stream = container.add_stream("libx264", rate=Fraction(fps), options=options)
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], "yuv444p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def numbers(episode: int, num_frames: int, width: int) -> np.ndarray:
    generator = np.random.default_rng(100 * episode + width)
    return generator.normal(size=(num_frames, width)).astype(np.float32)


@pytest.fixture
def make_frames():
    return moving_frames


@pytest.fixture
def make_numbers():
    return numbers


@pytest.fixture
def make_mp4():
    return write_mp4
