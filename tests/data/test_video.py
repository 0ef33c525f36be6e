from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from jepawm.data.video import VideoWriter, pick_times, read_video, video_rate, video_times
from jepawm.errors import UserError

UNIT = Fraction(1, 1000)


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """Twelve frames at 10 Hz; frame t is grey 20 t."""
    writer = VideoWriter(tmp_path / "a.mp4", fps=10.0, height=32, width=48)
    grey = np.arange(12, dtype=np.uint8)[:, None, None, None] * 20
    writer.append(np.broadcast_to(grey, (12, 32, 48, 3)))
    writer.close()
    return tmp_path / "a.mp4"


def greys(frames) -> list[int]:
    return [round(float(frame.mean()) / 20) for frame in frames]


def test_times_and_rate_without_decoding(video: Path):
    times, unit = video_times(video, name="a")
    assert times * float(unit) == pytest.approx(np.arange(12) / 10)
    assert video_rate(video, name="a") == 10


def test_frames_at_times(video: Path):
    times, _ = video_times(video, name="a")
    assert greys(read_video(video, name="a")) == list(range(12))
    assert greys(read_video(video, name="a", times=times[5:8])) == [5, 6, 7]
    assert greys(read_video(video, name="a", times=times[1::4])) == [1, 5, 9]
    assert greys(read_video(video.read_bytes(), name="a", times=times[:2])) == [0, 1]
    assert greys(read_video(video, name="a", times=times[:0])) == []


def test_missing_damaged_and_short(video: Path, tmp_path: Path):
    with pytest.raises(UserError, match=r"b\.mp4 is missing"):
        video_times(tmp_path / "b.mp4", name="b.mp4")
    (tmp_path / "c.mp4").write_bytes(video.read_bytes()[:500])
    with pytest.raises(UserError, match=r"the video c\.mp4 is truncated or damaged"):
        video_times(tmp_path / "c.mp4", name="c.mp4")
    times, _ = video_times(video, name="a")
    late = np.append(times, times[-1] + 1000)
    with pytest.raises(UserError, match=r"a\.mp4: only 12 of 13 frames can be decoded"):
        list(read_video(video, name="a.mp4", times=late))


def test_odd_sides_are_refused(tmp_path: Path):
    with pytest.raises(UserError, match="even sides, frames are 33 x 32; use --images png"):
        VideoWriter(tmp_path / "a.mp4", fps=10.0, height=33, width=32)


def test_moments_take_their_nearest_frame():
    times = np.array([0, 100, 200, 300, 400])
    assert pick_times(times, np.array([0.01, 0.19, 0.31]), unit=UNIT).tolist() == [0, 200, 300]
    every_other = np.array([0.0, 0.2, 0.4])
    assert pick_times(times, every_other, unit=UNIT).tolist() == [0, 200, 400]


def test_moments_end_with_the_first_that_is_absent():
    times = np.array([0, 100, 300, 400])
    wanted = np.arange(5) / 10
    assert pick_times(times, wanted, unit=UNIT).tolist() == [0, 100]
    assert pick_times(times, wanted[3:] + 0.1, unit=UNIT).tolist() == [400]
    assert pick_times(times[:0], wanted, unit=UNIT).tolist() == []
    assert pick_times(times[:1], np.array([0.0]), unit=UNIT).tolist() == [0]
