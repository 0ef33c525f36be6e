"""Mutations of pictures and videos for `fuzz.py`."""

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from fuzz_mutations import Ground, UnfitError
from PIL import Image


def change_picture(path: Path, ground: Ground) -> str:
    """Put another picture in its place, or another format under its name."""
    modes = ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16", "F", "RGB"]
    formats = [
        "PNG",
        "JPEG",
        "BMP",
        "WEBP",
        "GIF",
        "TIFF",
        "ICO",
        "PPM",
        "EPS",
        "PDF",
        "TGA",
        "DDS",
    ]
    size = ground.random.choice([(32, 32), (1, 1), (31, 33), (1, 5000), (20_000, 10_000)])
    mode, kind = ground.random.choice(modes), ground.random.choice(formats)
    try:
        Image.new(mode, size).save(path, format=kind)
    except (OSError, ValueError, KeyError) as error:
        raise UnfitError from error
    return f"picture {kind} {mode} {size}"


PLAYLISTS: Mapping[str, str] = {
    "ffconcat": "ffconcat version 1.0\nfile '{}'\n",
    "m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{}\n#EXT-X-ENDLIST\n",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n",
    "xspf": "<?xml version='1.0'?><playlist><track><location>{}</location></track></playlist>",
}
"""Texts that a demuxer may follow to other files."""


def change_video(path: Path, ground: Ground) -> str:
    """Put another video in its place, or a list of other files under its name."""
    names = ["frames", "rate", "size", "none", "sound", "rotated", "container", *PLAYLISTS]
    name = ground.random.choice(names)
    if name in PLAYLISTS:
        path.write_text(PLAYLISTS[name].format(ground.secret_path(path)))
        return f"video is {name}"
    if name == "sound":
        _write_sound(path)
        return "video has sound only"
    side = ground.random.choice([16, 48, 2000]) if name == "size" else 32
    rate = ground.random.choice([Fraction(1, 1000), Fraction(90_000)]) if name == "rate" else 10
    count = {"none": 0, "frames": ground.random.choice([1, 4, 40])}.get(name, 5)
    kind = ground.random.choice(["matroska", "avi", "mpegts", "flv"])
    write_video(path, side=side, rate=Fraction(rate), count=count, container=kind if name == "container" else "mp4", rotated=name == "rotated")  # fmt: skip
    return f"video: {name} ({count} frames of {side} at {rate})"


def write_video(
    path: Path, *, side: int, rate: Fraction, count: int, container: str, rotated: bool = False
) -> None:
    """Write a grey video."""
    path.unlink(missing_ok=True)
    with av.open(str(path), "w", format=container) as output:
        stream = output.add_stream("libx264", rate=rate)
        stream.width = stream.height = side
        stream.pix_fmt = "yuv420p"
        if rotated:
            stream.metadata["rotate"] = "90"
        for number in range(count):
            grey = np.full((side, side, 3), 10 * number % 256, np.uint8)
            output.mux(stream.encode(av.VideoFrame.from_ndarray(grey, format="rgb24")))
        output.mux(stream.encode(None))


def _write_sound(path: Path) -> None:
    path.unlink()
    with av.open(str(path), "w", format="mp4") as output:
        stream = output.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate = 8000
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
