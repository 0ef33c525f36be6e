"""Several cameras of one data set: opened one by one, read as one source; and read from a store."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from jaxtyping import Int64, UInt8

from jepawm.data.jpeg_frames import JpegFrames
from jepawm.data.recording import Episode, Recording, Source
from jepawm.errors import UserError, plain_text

ALL = "all"
"""Stands for all cameras there are."""


def named_cameras(camera: str | None) -> list[str]:
    """Return the names that an option holds, joined by commas."""
    names = [] if camera is None else [one.strip() for one in camera.split(",")]
    if len(names) > 1 and ("" in names or len(set(names)) < len(names)):
        raise UserError(f"--camera {camera}: name each camera once, joined by commas")
    return names


def join_cameras(sources: Sequence[Source]) -> Source:
    """Return the sources of single cameras of one data set as one source.

    Frames of its recordings are those of the first camera; `Recording.others` has the rest.
    """
    first = sources[0]
    names = [one.camera for one in sources]
    if len(set(names)) < len(names):
        raise UserError(f"the cameras {plain_text(', '.join(names))} are not different ones")
    if any(len(one.episodes) != len(first.episodes) for one in sources):
        counts = ", ".join(f"{one.camera} {len(one.episodes)}" for one in sources)
        raise UserError(f"{first.path}: cameras have different numbers of episodes: {counts}")
    rows = zip(*(one.episodes for one in sources), strict=True)
    return replace(
        first,
        camera=",".join(names),
        views=tuple(names),
        episodes=[replace(row[0], read=partial(_read, row, names)) for row in rows],
        notes=list(dict.fromkeys(note for one in sources for note in one.notes)),
    )


def _read(episodes: Sequence[Episode], names: Sequence[str]) -> Recording:
    """Read an episode of every camera; they must have the same rows."""
    first, *others = (one.read() for one in episodes)
    for name, other in zip(names[1:], others, strict=True):
        if other.num_frames != first.num_frames:
            raise UserError(
                f"camera {plain_text(name)} has {other.num_frames} frames and {plain_text(names[0])} "
                f"{first.num_frames}; repair the recording, or leave the episode out"
            )
    notes = dict.fromkeys(note for one in (first, *others) for note in one.notes)
    return replace(first, others=dict(zip(names[1:], others, strict=True)), notes=tuple(notes))


def read_views(
    pixels: np.ndarray | JpegFrames, rows: Int64[np.ndarray, "*b"], *, views: Sequence[int], of: int
) -> UInt8[np.ndarray, "*b V 3 S S"]:
    """Read pictures `[*b, V, 3, S, S]` of some of `of` cameras, at rows `[*b]` of a store."""
    chosen = rows[..., None] * of + np.asarray(views)  # pictures of a frame are neighbours
    if isinstance(pixels, JpegFrames):
        return pixels.read(chosen)
    return np.take(pixels.reshape(-1, *pixels.shape[-3:]), chosen, axis=0)


def picture_like(columns: Mapping[str, str]) -> dict[str, str]:
    """Return the columns whose shape is that of pictures, one to four channels, of whatever type."""
    shape = re.compile(r"\[\d+, (\d+), \d+, (\d+)\]$")
    found = {name: shape.search(kind) for name, kind in columns.items()}
    return {
        name: columns[name]
        for name, sides in found.items()
        if sides and min(int(side) for side in sides.groups()) in range(1, 5)
    }
