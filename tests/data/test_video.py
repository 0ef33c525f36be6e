from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from jepawm.data.video import (
    VideoWriter,
    pick_times,
    read_video,
    require_size,
    video_rate,
    video_times,
)
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


@pytest.mark.parametrize(
    "text",
    [
        "ffconcat version 1.0\nfile {other}\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\n{other}\n#EXT-X-ENDLIST\n",
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5000 RTP/AVP 96\n",
        "<?xml version='1.0'?><MPD><Period><BaseURL>{other}</BaseURL></Period></MPD>",
        ";FFMETADATA1\n",
    ],
)
def test_lists_of_other_files_are_no_videos(video: Path, tmp_path: Path, text: str):
    listed = tmp_path / "list.mp4"
    listed.write_text(text.format(other=video))
    for content in (listed, listed.read_bytes()):
        with pytest.raises(UserError, match="list is truncated or damaged, or no mp4, mov"):
            video_times(content, name="list")


def test_a_name_is_no_address(video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    for name in ("concat:a.mp4", "http:a", "-i", "a%03d.mp4"):
        Path(name).write_bytes(video.read_bytes())
        assert video_rate(Path(name), name=name) == 10


def test_only_regular_files(tmp_path: Path):
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "nothing.mp4").symlink_to("absent")
    for name, word in (("folder", "a folder"), ("nothing", "a link to nothing")):
        with pytest.raises(UserError, match=rf"{name}\.mp4 is {word}"):
            video_times(tmp_path / f"{name}.mp4", name=name)


def test_frames_of_a_sane_size(tmp_path: Path):
    side = 8_256
    with av.open(str(tmp_path / "b.avi"), "w") as container:
        stream = container.add_stream("mjpeg", rate=10)
        stream.height, stream.width, stream.pix_fmt = side, side, "yuvj420p"
        container.mux(stream.encode(av.VideoFrame(side, side, "yuvj420p")))
        container.mux(stream.encode(None))
    with pytest.raises(UserError, match=r"b has 8256 x 8256 pixels; frames have 1 to 67,108,864"):
        video_rate(tmp_path / "b.avi", name="b")
    require_size(8192, 8192, name="a")
    for width, height in ((8192, 8193), (0, 5), (5, 0), (-1, -5)):
        with pytest.raises(UserError, match=f"a has {width} x {height} pixels"):
            require_size(width, height, name="a")


def test_a_title_in_another_alphabet_does_no_harm(video: Path, tmp_path: Path):
    with av.open(str(tmp_path / "b.mkv"), "w") as container:
        container.metadata["title"] = "caf\u00e9"
        stream = container.add_stream("libx264", rate=10)
        stream.height, stream.width = 32, 48
        frame = av.VideoFrame.from_ndarray(np.zeros((32, 48, 3), np.uint8), format="rgb24")
        container.mux([*stream.encode(frame), *stream.encode(None)])
    content = (tmp_path / "b.mkv").read_bytes()
    latin = content.replace("caf\u00e9".encode(), b"caf\xe9\xe9")
    assert latin != content
    assert greys(read_video(latin, name="b")) == [0]


def test_damage_is_one_message(video: Path):
    """Flip bits anywhere: what PyAV raises, of whatever kind, becomes a `UserError`."""
    whole = video.read_bytes()
    random = np.random.default_rng(0)
    for _ in range(40):
        damaged = bytearray(whole)
        for place in random.integers(0, len(whole), size=8):
            damaged[place] ^= 1 << int(random.integers(8))
        with suppress(UserError):  # anything else is not
            video_times(bytes(damaged), name="a")
            list(read_video(bytes(damaged), name="a"))
