"""Pictures of Push-T, as the reference draws them: a canvas of 512 pixels, then resized.

The canvas is never antialiased; `pusht_raster` says which pixels a shape fills. Only what moves is
drawn and resized for each frame: resizing is linear, so the change is added to the resized rest.
"""

from functools import cache

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor
from torch.nn import functional

from jepawm.envs.pusht.raster import (
    Spans,
    disc_mask,
    disc_spans,
    fill_spans,
    line_spans,
    polygon_spans,
)
from jepawm.envs.pusht.shape import TARGET_POSE, place_block

CANVAS = 512
"""Side of the canvas in pixels; one pixel is one unit of the world."""

_CHUNK = 64  # frames drawn at once
_PATCH = 160  # a block with its outline fits, however it is turned
_OUTLINE = 2  # radius of outlines and border lines
_AGENT_RADIUS, _AGENT_INNER_RADIUS = 15, 11

_NOTHING, _WHITE, _BORDER, _TARGET, _BLOCK_OUTLINE, _BLOCK, _AGENT_OUTLINE, _AGENT = range(8)
_COLORS = np.array(
    [
        (0, 0, 0),
        (255, 255, 255),
        (211, 211, 211),  # light gray
        (144, 238, 144),  # light green
        (119, 136, 153),  # light slate gray
        (142, 163, 183),  # the same, 1.2 times as bright
        (65, 105, 225),  # royal blue
        (78, 126, 255),  # the same, 1.2 times as bright
    ],
    dtype=np.float32,
)


def render_pusht(
    states: Float[np.ndarray, "*b S"],
    image_size: int,
    *,
    with_target: bool = True,
    antialias: bool = False,
) -> UInt8[Tensor, "*b 3 height width"]:
    """Draw states `[*b, S]` that begin with agent x, y, block x, y, angle.

    Returns uint8 images `[*b, 3, image_size, image_size]`. The reference resizes to 224 pixels,
    bilinear without antialiasing.
    """
    batch = states.shape[:-1]
    flat = states.reshape(-1, states.shape[-1])[:, :5].astype(np.float64)
    weights = _resize_weights(image_size, antialias=antialias)
    rest = _resize(_background(with_target=with_target), weights)
    frames = np.empty((len(flat), 3, image_size, image_size), dtype=np.uint8)
    for start in range(0, len(flat), _CHUNK):
        chunk = flat[start : start + _CHUNK]
        corners = np.rint(place_block(chunk[:, 2:])).astype(np.int64)  # [F, 2, 4, 2]
        origins = corners.min((1, 2)) - 2 * _OUTLINE
        patches = _draw_blocks(corners - origins[:, None, None])
        agents = np.rint(chunk[:, :2]).astype(np.int64)
        for index in range(len(chunk)):
            canvas = _background(with_target=with_target).copy()
            frame = rest.copy()
            _add(frame, canvas, weights=weights, patch=patches[index], at=origins[index])
            _add(
                frame,
                canvas,
                weights=weights,
                patch=_agent_patch(),
                at=agents[index] - _AGENT_RADIUS,
            )
            frames[start + index] = np.rint(frame).clip(0, 255)
    return torch.from_numpy(frames.reshape(*batch, 3, image_size, image_size))


def _add(
    frame: Float[np.ndarray, "3 S S"],
    canvas: UInt8[np.ndarray, "canvas canvas"],
    *,
    weights: Float[np.ndarray, "S canvas"],
    patch: UInt8[np.ndarray, "h w"],
    at: Int[np.ndarray, " 2"],
) -> None:
    """Draw `patch` onto the canvas with its corner `at` (x, y), and what changes onto the frame."""
    x, y = (int(number) for number in at)
    top, left = max(y, 0), max(x, 0)
    bottom, right = min(y + patch.shape[0], CANVAS), min(x + patch.shape[1], CANVAS)
    if top >= bottom or left >= right:
        return
    visible = patch[top - y : bottom - y, left - x : right - x]
    place = canvas[top:bottom, left:right]
    drawn = (visible != _NOTHING) & (place != _BORDER)  # border lines come last
    after = np.where(drawn, visible, place)
    change = np.take(_color_changes(), after * len(_COLORS) + place, axis=1)  # [3, h, w]
    place[:] = after
    size = len(weights)
    margin = 2 + size // CANVAS  # output pixels that see an input pixel of their neighbour's
    scale = size / CANVAS
    rows = slice(max(int(top * scale) - margin, 0), int(bottom * scale) + margin)
    columns = slice(max(int(left * scale) - margin, 0), int(right * scale) + margin)
    frame[:, rows, columns] += (
        weights[rows, top:bottom] @ change @ weights[columns, left:right].T  # [3, rows, columns]
    )


def _draw_blocks(corners: Int[np.ndarray, "F 2 4 2"]) -> UInt8[np.ndarray, "F h w"]:
    """Draw blocks at rounded corners; the stem over the bar."""
    patches = np.full((len(corners), _PATCH, _PATCH), _NOTHING, dtype=np.uint8)
    for shape in (corners[:, 0], corners[:, 1]):
        patches[fill_spans(polygon_spans(shape[:, None], _PATCH), _PATCH)] = _BLOCK
        patches[_thick_lines(shape, np.roll(shape, -1, axis=1), size=_PATCH)] = _BLOCK_OUTLINE
    return patches


def _thick_lines(
    start: Int[np.ndarray, "F p 2"], end: Int[np.ndarray, "F p 2"], *, size: int
) -> Bool[np.ndarray, "F size size"]:
    """Return the pixels of lines with round ends, as the reference composes them.

    A line of 4 pixels, a quadrilateral (askew for lines that rise to the left) and a disc at each
    end.
    """
    by_rows, by_columns = line_spans(start, end, size=size)
    offset = np.abs(end - start)[..., ::-1]
    across = np.rint(offset * (_OUTLINE / np.linalg.norm(offset, axis=-1, keepdims=True)))
    across = across.astype(np.int64)
    quadrilaterals = np.stack([start - across, start + across, end + across, end - across], -2)
    spans = [
        by_rows,
        polygon_spans(quadrilaterals, size),
        disc_spans(start, _OUTLINE, size=size),
        disc_spans(end, _OUTLINE, size=size),
    ]
    together = Spans(
        first=np.concatenate([one.first for one in spans], axis=1),
        last=np.concatenate([one.last for one in spans], axis=1),
    )
    return fill_spans(together, size) | fill_spans(by_columns, size).transpose(0, 2, 1)


@cache
def _background(*, with_target: bool) -> UInt8[np.ndarray, "canvas canvas"]:
    """Draw what does not move: the target (white if it is not shown) and the border lines."""
    canvas = np.full((CANVAS, CANVAS), _WHITE, dtype=np.uint8)
    corners = np.rint(place_block(np.array(TARGET_POSE))).astype(np.int64)
    if with_target:
        canvas[fill_spans(polygon_spans(corners[None], CANVAS), CANVAS)[0]] = _TARGET
    low, high = 5, 506
    ends = np.array(
        [
            [(low, high), (low, low)],
            [(low, low), (high, low)],
            [(high, low), (high, high)],
            [(low, high), (high, high)],
        ]
    )[None]
    canvas[_thick_lines(ends[:, :, 0], ends[:, :, 1], size=CANVAS)[0]] = _BORDER
    return canvas


@cache
def _agent_patch() -> UInt8[np.ndarray, "d d"]:
    patch = np.full((2 * _AGENT_RADIUS, 2 * _AGENT_RADIUS), _NOTHING, dtype=np.uint8)
    patch[disc_mask(_AGENT_RADIUS)] = _AGENT_OUTLINE
    inner = slice(_AGENT_RADIUS - _AGENT_INNER_RADIUS, _AGENT_RADIUS + _AGENT_INNER_RADIUS)
    patch[inner, inner][disc_mask(_AGENT_INNER_RADIUS)] = _AGENT
    return patch


@cache
def _color_changes() -> Float[np.ndarray, "3 pairs"]:
    """Return new colour minus old colour, at new x number of colours + old."""
    change = _COLORS[:, None] - _COLORS[None]  # [new, old, 3]
    return np.ascontiguousarray(change.reshape(-1, 3).T)


def _resize(
    canvas: UInt8[np.ndarray, "canvas canvas"], weights: Float[np.ndarray, "S canvas"]
) -> Float[np.ndarray, "3 S S"]:
    return weights @ _COLORS.T[:, canvas] @ weights.T


@cache
def _resize_weights(image_size: int, *, antialias: bool) -> Float[np.ndarray, "S canvas"]:
    """Return the weights of a bilinear resize of the canvas along one axis."""
    unit = torch.eye(CANVAS)[None, None]
    weights = functional.interpolate(
        unit, size=(image_size, CANVAS), mode="bilinear", align_corners=False, antialias=antialias
    )
    return weights[0, 0].numpy()
