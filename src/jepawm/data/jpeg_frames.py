"""Frames as pictures: those of a store, JPEG, one after the other in one array; PNG of others."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from pathlib import Path

import numpy as np
from jaxtyping import Int64, UInt8
from PIL import Image, UnidentifiedImageError

from jepawm.errors import UserError

QUALITY = 95
"""JPEG quality, colours at full resolution: about 40 dB, 10 times smaller than raw frames."""
_FEW = 8
"""Up to this many frames are decoded in the calling thread."""


@dataclass(frozen=True, kw_only=True, eq=False)
class JpegFrames:
    """Frames of a store, decoded one by one when they are asked for."""

    file: Path
    """File of the pictures, for messages."""
    pictures: UInt8[np.ndarray, " bytes"]
    """All pictures, memory-mapped."""
    sizes: Int64[np.ndarray, " F"]
    """Bytes of each picture `[F]`."""
    image_size: int
    """Side of the frames in pixels."""

    @cached_property
    def _ends(self) -> Int64[np.ndarray, " F"]:
        return np.cumsum(self.sizes)

    def read(self, rows: Int64[np.ndarray, "*b"]) -> UInt8[np.ndarray, "*b 3 H W"]:
        """Decode the frames at `rows` `[*b]`; many at once in several threads."""
        size = self.image_size
        pixels = np.empty((rows.size, 3, size, size), dtype=np.uint8)

        def decode(position: int) -> None:
            pixels[position] = self._decode(int(rows.flat[position]))

        if rows.size <= _FEW:
            for position in range(rows.size):
                decode(position)
        else:
            with ThreadPoolExecutor() as pool:  # decoding leaves the interpreter lock
                list(pool.map(decode, range(rows.size)))
        return pixels.reshape(*rows.shape, 3, size, size)

    def _decode(self, row: int) -> UInt8[np.ndarray, "3 H W"]:
        end = self._ends[row]
        data = self.pictures[end - self.sizes[row] : end].tobytes()
        try:
            picture = np.asarray(Image.open(BytesIO(data)).convert("RGB"))
        except (OSError, UnidentifiedImageError) as error:
            raise UserError(
                f"{self.file}: frame {row} is damaged ({error}); copy the store again"
            ) from error
        if picture.shape != (self.image_size, self.image_size, 3):
            raise UserError(f"{self.file}: frame {row} has shape {picture.shape}; copy it again")
        return picture.transpose(2, 0, 1)


def encode_frames(
    frames: UInt8[np.ndarray, "L 3 H W"],
) -> tuple[UInt8[np.ndarray, " bytes"], Int64[np.ndarray, " L"]]:
    """Encode frames `[L, 3, H, W]` as JPEG pictures; returns their bytes, joined, and sizes `[L]`."""

    def encode(frame: np.ndarray) -> bytes:
        buffer = BytesIO()
        Image.fromarray(np.ascontiguousarray(frame.transpose(1, 2, 0))).save(
            buffer, format="JPEG", quality=QUALITY, subsampling=0
        )
        return buffer.getvalue()

    with ThreadPoolExecutor() as pool:
        pictures = list(pool.map(encode, frames))
    sizes = np.array([len(picture) for picture in pictures], dtype=np.int64)
    return np.frombuffer(b"".join(pictures), dtype=np.uint8), sizes


def decode_picture(content: bytes, *, name: str) -> UInt8[np.ndarray, "height width 3"]:
    """Decode a picture as RGB."""
    try:
        return np.asarray(Image.open(BytesIO(content)).convert("RGB"))
    except (OSError, UnidentifiedImageError) as error:
        raise UserError(f"a picture of {name} is damaged ({error}); copy it again") from error


def encode_png(frame: UInt8[np.ndarray, "height width 3"]) -> bytes:
    """Encode a frame as PNG, which loses nothing."""
    buffer = BytesIO()
    Image.fromarray(frame).save(buffer, format="PNG")
    return buffer.getvalue()
