"""Several cameras: their names, and their pictures as one, one below the other.

An observation of `V` cameras holds one picture `[3, V S, S]`: the square pictures of the cameras in
the order of their names. So all that takes pictures takes several as it takes one; the encoder
(`models/views.py`) tells them apart again.
"""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from jaxtyping import UInt8
from torch import Tensor

from jepawm.errors import UserError, plain_text

Pixels = TypeVar("Pixels", Tensor, np.ndarray)


def choose_views(wanted: Sequence[str], known: Sequence[str], *, where: object) -> tuple[int, ...]:
    """Return the places of cameras among the known ones, rising; a unique ending of a name is enough.

    Args:
        wanted: names that were asked for, each once; none: all.
        known: names of the cameras there are, in their order.
        where: what has them, for messages.
    """
    if not wanted:
        return tuple(range(len(known)))
    places = []
    for name in wanted:
        ends = [one for one in known if one == name] or [one for one in known if one.endswith(name)]
        if len(ends) != 1 or not name:
            raise UserError(
                f"{where} has no camera {name[:80]!r}; choose among: {plain_text(', '.join(known))}"
            )
        places.append(known.index(ends[0]))
    if len(set(places)) < len(places):
        raise UserError(f"the cameras {', '.join(wanted)} are not different ones; name each once")
    return tuple(sorted(places))


def stack_views(
    pictures: UInt8[np.ndarray, "*b V 3 S S"],
) -> UInt8[np.ndarray, "*b 3 height S"]:
    """Put the pictures `[*b, V, 3, S, S]` of cameras one below the other, `[*b, 3, V S, S]`."""
    *batch, count, channels, height, width = pictures.shape
    return np.moveaxis(pictures, -4, -3).reshape(*batch, channels, count * height, width)


def split_views(pixels: Pixels, count: int) -> list[Pixels]:
    """Return the picture `[*b, 3, S, S]` of each of `count` cameras out of `[*b, 3, count S, S]`."""
    height = pixels.shape[-2] // count
    return [pixels[..., at * height : (at + 1) * height, :] for at in range(count)]
