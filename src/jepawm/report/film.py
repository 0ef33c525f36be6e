"""Films of pictures side by side, each under its name: mp4 and GIF."""

from collections.abc import Sequence
from pathlib import Path

import imageio.v3 as iio
import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from jepawm.data.video import VideoWriter
from jepawm.errors import UserError

Panel = tuple[str | Sequence[str], UInt8[np.ndarray, "_ 3 _ _"]]
"""A name, or one for each picture, and the pictures `[F, 3, h, w]` under it."""

_SIDE, _TITLE, _GAP = 192, 18, 6
_PAPER, _INK = (255, 255, 255), (32, 32, 32)


def lay_out(rows: Sequence[Sequence[Panel]]) -> UInt8[np.ndarray, "frames height width 3"]:
    """Lay panels out in rows; returns the frames `[F, H, W, 3]` of the film, with even sides.

    Pictures are enlarged by a whole number, so that pixels stay square. Shorter panels end with their
    last picture.
    """
    count = max(len(pictures) for row in rows for _, pictures in row)
    lines = [[_panel(name, pictures, count=count) for name, pictures in row] for row in rows]
    width = max(sum(one.shape[2] + _GAP for one in line) for line in lines) + _GAP
    height = sum(line[0].shape[1] + _GAP for line in lines) + _GAP
    film = np.full((count, height + height % 2, width + width % 2, 3), 255, dtype=np.uint8)
    top = _GAP
    for line in lines:
        left = _GAP
        for panel in line:
            film[:, top : top + panel.shape[1], left : left + panel.shape[2]] = panel
            left += panel.shape[2] + _GAP
        top += line[0].shape[1] + _GAP
    return film


def write_film(
    film: UInt8[np.ndarray, "frames height width 3"], stem: Path, *, fps: float
) -> list[Path]:
    """Write `<stem>.mp4` and `<stem>.gif`; returns their paths."""
    video, picture = stem.with_suffix(".mp4"), stem.with_suffix(".gif")
    writer = VideoWriter(video, fps=fps, height=film.shape[1], width=film.shape[2])
    writer.append(film)
    writer.close()
    content = iio.imwrite("<bytes>", film, duration=1000 / fps, loop=0, extension=".gif")
    try:
        picture.write_bytes(content)
    except OSError as error:
        raise UserError(f"cannot write {picture} ({error}); choose another --out") from error
    return [video, picture]


def difference(
    pictures: UInt8[np.ndarray, "frames 3 height width"],
    others: UInt8[np.ndarray, "frames 3 height width"],
) -> UInt8[np.ndarray, "frames 3 height width"]:
    """Return how far pictures differ, black where they agree: the largest of the three colours."""
    away = np.abs(pictures.astype(np.int16) - others).max(1, keepdims=True).astype(np.uint8)
    return np.repeat(away, 3, axis=1)


def _panel(
    name: str | Sequence[str],
    pictures: UInt8[np.ndarray, "_ 3 _ _"],
    *,
    count: int,
) -> UInt8[np.ndarray, "frames height width 3"]:
    zoom = max(1, _SIDE // max(pictures.shape[2:]))
    large = pictures.transpose(0, 2, 3, 1).repeat(zoom, axis=1).repeat(zoom, axis=2)
    names = [name] * len(large) if isinstance(name, str) else name
    heads = np.stack([_title(one, width=large.shape[2]) for one in names])
    panel = np.concatenate([heads, large], axis=1)
    last = np.repeat(panel[-1:], count - len(panel), axis=0)
    return np.concatenate([panel, last])


def _title(text: str, *, width: int) -> UInt8[np.ndarray, "height width 3"]:
    title = Image.new("RGB", (width, _TITLE), _PAPER)
    ImageDraw.Draw(title).text((1, 2), text, fill=_INK, font=ImageFont.load_default(12))
    return np.asarray(title)
