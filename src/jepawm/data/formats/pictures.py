"""Pictures as bytes: PNG, JPEG and whatever else Pillow reads."""

from io import BytesIO

import numpy as np
from jaxtyping import UInt8
from PIL import Image, UnidentifiedImageError

from jepawm.errors import UserError


def decode_picture(content: bytes, *, name: str) -> UInt8[np.ndarray, "height width 3"]:
    """Decode a picture as RGB.

    Raises:
        UserError: if the picture, called `name` in messages, is damaged.
    """
    try:
        return np.asarray(Image.open(BytesIO(content)).convert("RGB"))
    except (OSError, UnidentifiedImageError) as error:
        raise UserError(f"a picture of {name} is damaged ({error}); copy it again") from error


def encode_png(frame: UInt8[np.ndarray, "height width 3"]) -> bytes:
    """Encode a frame as PNG, which loses nothing."""
    buffer = BytesIO()
    Image.fromarray(frame).save(buffer, format="PNG")
    return buffer.getvalue()
