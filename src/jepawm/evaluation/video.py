"""Animations of executed plans."""

from collections.abc import Mapping
from pathlib import Path

import imageio.v3 as iio
import numpy as np

from jepawm.errors import UserError

_LEAST_SIDE = 192
_FRAME_MILLISECONDS = 100
_GAP = 4


def write_animation(rollouts: Mapping[str, np.ndarray], path: Path, *, index: int = 0) -> Path:
    """Write a GIF of one recorded episode: what happened on the left, the goal on the right.

    Args:
        rollouts: arrays of `rollouts.npz`.
        path: file to write.
        index: which recorded episode.

    Raises:
        UserError: if the file cannot be written.
    """
    frames = rollouts["frames"][index]  # [T+1, 3, h, w]
    goal = np.broadcast_to(rollouts["goal_frames"][index], frames.shape)
    gap = np.full((*frames.shape[:-1], _GAP), 128, dtype=np.uint8)
    film = np.concatenate([frames, gap, goal], axis=-1).transpose(0, 2, 3, 1)  # [T+1, h, w, 3]
    zoom = -(-_LEAST_SIDE // film.shape[1])
    film = film.repeat(zoom, axis=1).repeat(zoom, axis=2)
    try:
        iio.imwrite(path, film, duration=_FRAME_MILLISECONDS, loop=0, extension=".gif")
    except OSError as error:
        raise UserError(f"cannot write {path} ({error}); choose another --out") from error
    return path
