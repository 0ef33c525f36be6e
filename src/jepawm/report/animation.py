"""Executed plans in motion: picture sheets and paths that the page's script plays, and GIFs."""

import base64
import io
import math
from pathlib import Path

import imageio.v3 as iio
import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from jepawm.errors import UserError
from jepawm.evaluation.rollouts import Rollouts

MAX_SIDE = 128
"""Longest side of a stored frame in pixels; larger ones are scaled down to keep the page light."""

MAX_PIXELS = 4_000_000
"""Pixels of all stored frames together; beyond it frames are scaled down further."""

MAX_SHEET = 16_383
"""Longest side of a picture of many frames in pixels: what WebP holds."""

Points = list[list[float]]

_LEAST_SIDE = 192
_FRAME_MILLISECONDS = 100
_GAP = 4


def task_payloads(rollouts: Rollouts, state_to_pixel: float | None) -> list[dict[str, object]]:
    """Return one JSON object per task: frames, paths and outcome.

    Paths are fractions of the picture (0 is its left or top edge), empty where the states are not
    places in the picture, or too large for any, or no probe was there. A sheet holds the `T + 1` frames row by row.
    """
    height, width = rollouts.frames.shape[-2:]
    num_tasks, num_frames = rollouts.frames.shape[:2]
    columns = math.ceil(math.sqrt(num_frames))
    fair = math.sqrt(MAX_PIXELS / (num_tasks * num_frames * height * width))
    scale = min(1.0, MAX_SIDE / max(height, width), fair, MAX_SHEET / columns / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))

    def path(states: Float[np.ndarray, "n S"]) -> Points:
        return path_fractions(states, state_to_pixel, height=height, width=width)

    return [
        {
            "sheet": _data_uri(_sheet(rollouts.frames[task], columns=columns, size=size)),
            "columns": columns,
            "numFrames": num_frames,
            "frame": list(size),
            "goalImage": _data_uri(_picture(rollouts.goal_frames[task], size)),
            "startImage": _data_uri(_picture(rollouts.frames[task, 0], size)),
            "executed": path(rollouts.states[task]),
            "imagined": path(rollouts.imagined_states[task]),
            "goal": path(rollouts.goal_states[task][None]),
            "frameskip": rollouts.frameskip,
            "success": bool(rollouts.success[task]),
            **_seen(rollouts, task),
        }
        for task in range(num_tasks)
    ]


def _seen(rollouts: Rollouts, task: int) -> dict[str, object]:
    """Return the imagined frames of a task, side by side; nothing where there is no decoder."""
    if rollouts.imagined_frames is None:
        return {}
    frames = rollouts.imagined_frames[task]
    count, _, height, width = frames.shape
    fair = math.sqrt(MAX_PIXELS / rollouts.imagined_frames[:, :, 0].size)
    scale = min(1.0, MAX_SIDE / max(height, width), fair, MAX_SHEET / count / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    sheet = _data_uri(_sheet(frames, columns=count, size=size))
    return {"seen": sheet, "seenFrame": list(size), "numSeen": count}


def path_fractions(
    states: Float[np.ndarray, "n S"], state_to_pixel: float | None, *, height: int, width: int
) -> Points:
    """Return where states `[n, S]` are in the picture, as fractions of its width and height.

    The first two numbers of a state are x (right) and y (down), 0 at the centre of the first
    native pixel; `state_to_pixel` is the frame's side divided by the native side.
    """
    if state_to_pixel is None or states.shape[-1] < 2:
        return []
    with np.errstate(over="ignore"):
        places = (states[:, :2] + 0.5) * state_to_pixel / np.array([width, height])
    if not np.isfinite(places).all():
        return []
    return [[round(float(x), 4), round(float(y), 4)] for x, y in places]


def write_animation(rollouts: Rollouts, path: Path, *, index: int = 0) -> Path:
    """Write a GIF of episode `index`: what happened on the left, the goal on the right."""
    frames = rollouts.frames[index]  # [T+1, 3, h, w]
    goal = np.broadcast_to(rollouts.goal_frames[index], frames.shape)
    gap = np.full((*frames.shape[:-1], _GAP), 128, dtype=np.uint8)
    film = np.concatenate([frames, gap, goal], axis=-1).transpose(0, 2, 3, 1)  # [T+1, h, w, 3]
    zoom = -(-_LEAST_SIDE // film.shape[1])
    film = film.repeat(zoom, axis=1).repeat(zoom, axis=2)
    content = iio.imwrite("<bytes>", film, duration=_FRAME_MILLISECONDS, loop=0, extension=".gif")
    try:
        path.write_bytes(content)  # by itself: a writer of pictures complains again when it closes
    except OSError as error:
        raise UserError(f"cannot write {path} ({error}); choose another --out") from error
    return path


def _picture(frame: UInt8[np.ndarray, "3 height width"], size: tuple[int, int]) -> Image.Image:
    picture = Image.fromarray(np.ascontiguousarray(frame.transpose(1, 2, 0)))
    return picture if picture.size == size else picture.resize(size, Image.Resampling.LANCZOS)


def _sheet(
    frames: UInt8[np.ndarray, "frames 3 height width"], *, columns: int, size: tuple[int, int]
) -> Image.Image:
    width, height = size
    rows = math.ceil(len(frames) / columns)
    sheet = Image.new("RGB", (columns * width, rows * height))
    for index, frame in enumerate(frames):
        row, column = divmod(index, columns)
        sheet.paste(_picture(frame, size), (column * width, row * height))
    return sheet


def _data_uri(picture: Image.Image) -> str:
    stream = io.BytesIO()
    picture.save(stream, "WEBP", quality=80, method=4)
    return "data:image/webp;base64," + base64.b64encode(stream.getvalue()).decode()
