"""Frames as pictures: those of a store, JPEG, one after the other in one array; PNG of others."""

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from pathlib import Path

import numpy as np
from jaxtyping import Int64, UInt8
from PIL import Image

from jepawm.border import foreign
from jepawm.data.video import FEWER_PIXELS, require_size
from jepawm.errors import UserError, plain_text

QUALITY = 95
"""JPEG quality, colours at full resolution: about 40 dB, 10 times smaller than raw frames."""
_PICTURES = {
    "PNG": re.compile(rb"\x89PNG\r\n\x1a\n"),
    "JPEG": re.compile(rb"\xff\xd8\xff"),
    "BMP": re.compile(rb"BM"),
    "WEBP": re.compile(rb"RIFF.{4}WEBP", re.DOTALL),
}
"""What is opened as a picture, by its first bytes. Pillow starts programs for some other formats."""
_EIGHT_BITS = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB", "HSV")
"""Modes of Pillow whose levels are 0 to 255; of 16-bit colours it keeps the upper 8 bits."""
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
        size = (self.image_size, self.image_size)
        with foreign(f"{self.file}: frame {row}", "JPEG picture"):
            picture = Image.open(BytesIO(data), formats=("JPEG",))
            if picture.size == size:
                return np.asarray(picture.convert("RGB")).transpose(2, 0, 1)
        raise UserError(
            f"{self.file}: frame {row} has {picture.size} pixels, not {size}; copy the store again"
        )


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
    """Decode a picture as RGB: PNG, JPEG, BMP or WebP."""
    kinds = [kind for kind, start in _PICTURES.items() if start.match(content)]
    if not kinds:
        raise UserError(
            f"a picture of {plain_text(name)} is no PNG or JPEG picture (BMP and WebP are read too); "
            "convert it, or leave the episode out"
        )
    name = f"a picture of {name}"
    with foreign(name, f"{kinds[0]} picture"):
        try:
            picture = Image.open(BytesIO(content), formats=kinds)
        except Image.DecompressionBombError as error:
            raise UserError(f"{plain_text(name)} has too many pixels; {FEWER_PIXELS}") from error
        require_size(*picture.size, name=name)
        if picture.mode not in _EIGHT_BITS:
            bits = 16 if "16" in picture.mode else 32
            raise UserError(
                f"{plain_text(name)} has {bits} bits a pixel in one channel (depth?); pictures have "
                "8 bits: scale it by a rule of your own and save it so, or choose another camera"
            )
        return np.asarray(picture.convert("RGB"))


def encode_png(frame: UInt8[np.ndarray, "height width 3"]) -> bytes:
    """Encode a frame as PNG, which loses nothing."""
    buffer = BytesIO()
    Image.fromarray(frame).save(buffer, format="PNG")
    return buffer.getvalue()
