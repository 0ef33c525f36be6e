"""Read and write videos by PyAV: times without decoding, frames at given times, short clips."""

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int64, UInt8

from jepawm.border import foreign, require_regular
from jepawm.data.resample import require_rate
from jepawm.errors import UserError, missing_extra, plain_text

if TYPE_CHECKING:
    from av.container import InputContainer

VideoFile = Path | bytes
"""A video file, or the content of one."""
MOST_PIXELS = 2**26
"""Pixels of the largest frame that is read, 8192 x 8192."""
FEWER_PIXELS = f"frames have 1 to {MOST_PIXELS:,} pixels: resize them, or leave the episode out"
"""What to do about others."""
_H264 = {"g": "2", "crf": "18"}
_READ_ONLY_THESE = {
    "format_whitelist": "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi",
    "protocol_whitelist": "file",
}
"""Kinds of files that are videos. FFmpeg knows lists of other files too, near and far."""
_SMALL_FRAME = 256 * 256  # pixels; up to here threads wait for each other longer than they decode


def video_times(video: VideoFile, *, name: str) -> tuple[Int64[np.ndarray, " n"], Fraction]:
    """Return the times `[n]` of all frames, sorted, and the seconds of one unit; decodes nothing.

    A truncated file gives the times of the frames that are left.
    """
    with _opened(video, name) as container:
        stream = container.streams.video[0]
        times = [
            packet.pts
            for packet in container.demux(stream)
            if packet.pts is not None and not packet.is_corrupt and not packet.is_discard
        ]
        return np.sort(np.array(times, dtype=np.int64)), Fraction(stream.time_base or 1)


def video_rate(video: VideoFile, *, name: str) -> float | None:
    """Return the frames per second that the video states; None if it states none."""
    with _opened(video, name) as container:
        rate = container.streams.video[0].average_rate
    return None if not rate else require_rate(float(rate), where=name)


def read_video(
    video: VideoFile, *, name: str, times: Int64[np.ndarray, " n"] | None = None
) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
    """Decode the frames at `times` (rising; units of `video_times`), or all of them, as RGB.

    Decoding starts at the key frame before the first and stops after the last.
    """
    left = None if times is None else [int(time) for time in times]
    with _opened(video, name) as container:
        stream = container.streams.video[0]
        if stream.width * stream.height > _SMALL_FRAME:
            stream.thread_type = "AUTO"
        else:
            stream.codec_context.thread_count = 1
        if left:
            container.seek(left[0], stream=stream)
        position = 0
        for frame in container.decode(stream):
            if left is not None:
                if position == len(left):
                    break
                if frame.pts is None or frame.pts < left[position]:
                    continue
                if frame.pts > left[position]:
                    break
            position += 1
            yield frame.to_ndarray(format="rgb24", threads=1)  # of conversion, far slower with two
    if left is not None and position < len(left):
        raise UserError(
            f"{name}: only {position} of {len(left)} frames can be decoded; the video is damaged, "
            "copy it again"
        )


def pick_times(
    times: Int64[np.ndarray, " n"], wanted: Float[np.ndarray, " k"], *, unit: Fraction
) -> Int64[np.ndarray, " m"]:
    """Choose the times of frames that belong to `wanted` seconds; ends with the first that is absent.

    A frame belongs to a moment if no other is nearer and it is less than half the smallest
    distance of `wanted` moments away. The result has `m <= k` entries.
    """
    if len(times) == 0 or len(wanted) == 0:
        return times[:0]
    seconds = times * float(unit)
    right = np.clip(np.searchsorted(seconds, wanted), 1, max(len(times) - 1, 1))
    left = right - 1
    right = np.minimum(right, len(times) - 1)
    nearest = np.where(wanted - seconds[left] <= seconds[right] - wanted, left, right)
    distance = np.diff(wanted).min() if len(wanted) > 1 else np.inf
    absent = np.abs(seconds[nearest] - wanted) >= distance / 2
    end = int(np.argmax(absent)) if absent.any() else len(wanted)
    return times[nearest[:end]]


def require_size(width: int, height: int, *, name: str) -> None:
    """Refuse frames that have no pixel, or more than a machine should hold."""
    if width < 1 or height < 1 or width * height > MOST_PIXELS:
        raise UserError(f"{plain_text(name)} has {width} x {height} pixels; {FEWER_PIXELS}")


class VideoWriter:
    """Write RGB frames into an mp4 (h264), a key frame every two frames: clips decode fast."""

    def __init__(self, path: Path, *, fps: float, height: int, width: int) -> None:
        """Create the file."""
        if height % 2 or width % 2:
            raise UserError(
                f"{path.name}: videos need even sides, frames are {height} x {width}; use "
                "--images png"
            )
        self._av = require_av()
        self._container = self._av.open(str(path), "w")
        rate = Fraction(fps).limit_denominator(1000)
        self._stream = self._container.add_stream("libx264", rate=rate, options=_H264)
        self._stream.width, self._stream.height = width, height
        self._stream.pix_fmt = "yuv420p"
        self.num_frames = 0

    def append(self, frames: UInt8[np.ndarray, "n height width 3"]) -> None:
        """Encode frames."""
        for pixels in frames:
            frame = self._av.VideoFrame.from_ndarray(pixels, format="rgb24")
            self._container.mux(self._stream.encode(frame))
        self.num_frames += len(frames)

    def close(self) -> None:
        """Finish the file."""
        self._container.mux(self._stream.encode(None))
        self._container.close()


def require_av() -> ModuleType:
    """Import PyAV."""
    try:
        import av
    except ImportError as error:
        raise missing_extra("a video", error, package="av", extra="data") from error
    return av


@contextmanager
def _opened(video: VideoFile, name: str) -> "Iterator[InputContainer]":
    av = require_av()
    if isinstance(video, Path):
        require_regular(video, "copy it again, or leave the episode out")
    place = BytesIO(video) if isinstance(video, bytes) else f"file:{video}"
    shown = f"the video {name}"
    with foreign(shown, "video"):
        try:
            with av.open(place, options=_READ_ONLY_THESE, metadata_errors="replace") as container:
                _require_decodable(container, name)
                yield container
        except av.error.FFmpegError as error:
            raise UserError(
                f"{plain_text(shown)} is truncated or damaged, or no mp4, mov, mkv, webm or avi "
                f"({error.strerror}); copy it again"
            ) from error


def _require_decodable(container: "InputContainer", name: str) -> None:
    """Check the size of the frames that a video says, and hold its decoder to the largest."""
    streams = container.streams.video
    if not streams or streams[0].codec_context is None:
        raise UserError(f"{plain_text(name)} holds no video; copy it again")
    require_size(streams[0].width or 0, streams[0].height or 0, name=f"the video {name}")
    streams[0].codec_context.options = {"max_pixels": str(MOST_PIXELS)}
