"""Where states are in the pictures of an environment, and pictures as the page takes them."""

import base64
import io
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image


@dataclass(frozen=True, kw_only=True)
class Handle:
    """Something that can be dragged."""

    name: str
    """What it is."""
    columns: tuple[int, int]
    """Numbers of a state that are its place."""
    angle: int | None = None
    """Number of a state that is its angle; None: it is not turned."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """How an environment is shown and touched."""

    handles: tuple[Handle, ...]
    """What can be dragged; the first is what paths show."""
    scale: tuple[float, float]
    """Part of the picture's width and height that a unit of the state takes; negative: it points up."""
    offset: tuple[float, float]
    """Part of the picture where a state of 0 is."""
    low: tuple[float, float]
    """Least places that can be dragged to, units of the state."""
    high: tuple[float, float]
    """Largest places."""
    still: tuple[int, ...] = ()
    """Numbers of a state that are velocities: a dragged thing rests."""

    def places(self, states: Float[np.ndarray, "*b S"]) -> list[object]:
        """Return parts of the picture `[*b, 2]` where the first handle is, rounded, as lists."""
        column = list(self.handles[0].columns)
        found = np.asarray(self.offset) + np.asarray(self.scale) * states[..., column]
        return np.nan_to_num(found, nan=-1, posinf=-1, neginf=-1).round(4).tolist()

    def to_json(self) -> dict[str, object]:
        """Return it for the page."""
        return {
            "handles": [
                {"name": one.name, "columns": one.columns, "angle": one.angle}
                for one in self.handles
            ],
            "scale": self.scale,
            "offset": self.offset,
            "low": self.low,
            "high": self.high,
            "still": self.still,
        }


_WALL = Stage(
    handles=(Handle(name="dot", columns=(0, 1)),),
    scale=(1 / 65, 1 / 65),
    offset=(0.5 / 65, 0.5 / 65),
    low=(7.0, 7.0),
    high=(57.0, 57.0),
)
_POINTMAZE = Stage(
    handles=(Handle(name="ball", columns=(0, 1)),),
    scale=(0.184, -0.185),
    offset=(0.174, 0.829),
    low=(0.4, 0.4),
    high=(3.2, 3.2),
    still=(2, 3),
)
_PUSHT = Stage(
    handles=(
        Handle(name="block", columns=(2, 3), angle=4),
        Handle(name="agent", columns=(0, 1)),
    ),
    scale=(1 / 512, 1 / 512),
    offset=(0.5 / 512, 0.5 / 512),
    low=(60.0, 60.0),
    high=(450.0, 450.0),
    still=(5, 6),
)
STAGES = {"wall": _WALL, "pointmaze": _POINTMAZE, "pusht": _PUSHT}
"""Environments that the page can show, by name."""


def sheet(frames: UInt8[np.ndarray, "F 3 height width"]) -> str:
    """Return pictures side by side as one PNG, a data URI."""
    wide = np.concatenate(list(frames.transpose(0, 2, 3, 1)), axis=1)
    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(wide)).save(stream, "PNG", compress_level=1)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()
