"""Pictures of Push-T, as the reference draws them: a canvas of 512 pixels, then resized.

The canvas is never antialiased: a pixel is filled or not. Only what moves is drawn and resized for
each frame: resizing is linear, so the change is added to the resized rest.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor
from torch.nn import functional

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
_FAR = 1 << 20  # beyond every canvas

# Filled pixels left of the centre in each row from the top of a disc to its middle; a disc is as
# many pixels wide and high as its diameter, and its centre is right below the middle.
_DISC_HALF_WIDTHS = {
    2: (1, 2, 2, 1),
    11: (3, 5, 6, 8, 8, 9, 10, 10, 11, 11, 11, 11, 11, 11, 10, 10, 9, 8, 8, 6, 5, 3),
    15: (
        *(3, 6, 8, 9, 10, 11, 12, 13, 13, 14, 14, 14, 15, 15, 15),
        *(15, 15, 15, 14, 14, 14, 13, 13, 12, 11, 10, 9, 8, 6, 3),
    ),
}


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


@dataclass(frozen=True, kw_only=True, eq=False)
class Spans:
    """Filled pixels of shapes `*b`, row by row (or column by column), at whole pixels.

    For each of the rows (or columns) 0 to n - 1 the first and the last pixel that the reference's
    drawing calls fill, `[*b, n]` each; the first exceeds the last where they fill nothing.
    """

    first: Int[np.ndarray, "*b n"]
    """First filled pixel of each line."""
    last: Int[np.ndarray, "*b n"]
    """Last filled pixel of each line; smaller than `first` where there is none."""


def polygon_spans(corners: Int[np.ndarray, "*b m 2"], size: int) -> Spans:
    """Return the rows 0 to `size` - 1 of convex polygons with corners `[*b, m, 2]` (x, y)."""
    start, end = corners, np.roll(corners, -1, axis=-2)
    down = (start[..., 1] <= end[..., 1])[..., None]
    upper, lower = np.where(down, start, end), np.where(down, end, start)
    x1, y1 = upper[..., 0, None], upper[..., 1, None]  # [*b, m, 1]
    x2, y2 = lower[..., 0, None], lower[..., 1, None]
    row = np.arange(size)
    flat = y1 == y2
    crossing = x1 + (row - y1) * (x2 - x1) // np.where(flat, 1, y2 - y1)  # rounded down
    meets = (y1 <= row) & (row <= y2)  # [*b, m, n]
    low = np.where(flat, np.minimum(x1, x2), crossing)
    high = np.where(flat, np.maximum(x1, x2), crossing)
    return Spans(
        first=np.where(meets, low, _FAR).min(-2), last=np.where(meets, high, -_FAR).max(-2)
    )


def line_spans(
    start: Int[np.ndarray, "*b 2"], end: Int[np.ndarray, "*b 2"], *, size: int
) -> tuple[Spans, Spans]:
    """Return rows and columns of lines 4 pixels thick; each line fills only one of the two.

    Steep and diagonal lines are thick along x, others along y: from 1 pixel before to 2 after.
    """
    offset = end - start
    length = np.abs(offset)
    steep = length[..., 0] <= length[..., 1]
    by_rows = _along(start[..., ::-1], offset[..., ::-1], used=steep, size=size)
    by_columns = _along(start, offset, used=~steep, size=size)
    return by_rows, by_columns


def disc_spans(centers: Int[np.ndarray, "*b 2"], radius: int, *, size: int) -> Spans:
    """Return the rows of discs around centres `[*b, 2]` (x, y); radius 2, 11 or 15."""
    half_widths = np.array(_DISC_HALF_WIDTHS[radius])
    height = len(half_widths)
    line = np.arange(size) - (centers[..., 1, None] - height // 2)  # [*b, n]
    half = half_widths[np.clip(line, 0, height - 1)]
    half = np.where((line >= 0) & (line < height), half, -_FAR)
    return Spans(first=centers[..., 0, None] - half, last=centers[..., 0, None] + half - 1)


def disc_mask(radius: int) -> Bool[np.ndarray, "d d"]:
    """Return the filled pixels of a disc, from `radius` before its centre on."""
    side = 2 * radius
    spans = disc_spans(np.array([radius, radius]), radius, size=side)
    column = np.arange(side)
    return (column >= spans.first[:, None]) & (column <= spans.last[:, None])


def fill_spans(spans: Spans, size: int) -> Bool[np.ndarray, "F n size"]:
    """Return which pixels the spans `[F, p, n]` of `p` shapes a picture fill together.

    A line holds `size` pixels; spans may reach beyond them.
    """
    first, last = np.clip(spans.first, 0, size), np.clip(spans.last + 1, 0, size)
    frames, _, lines = first.shape
    filled = np.nonzero(first < last)
    line = (filled[0] * lines + filled[2]) * (size + 1)
    change = np.zeros(frames * lines * (size + 1), dtype=np.int8)
    np.add.at(change, line + first[filled], 1)
    np.subtract.at(change, line + last[filled], 1)
    depth = change.reshape(frames, lines, size + 1).cumsum(-1, dtype=np.int8)
    return depth[..., :size] > 0


def _along(
    start: Int[np.ndarray, "*b 2"],
    offset: Int[np.ndarray, "*b 2"],
    *,
    used: Bool[np.ndarray, "*b"],
    size: int,
) -> Spans:
    """Return spans of lines along their first coordinate, thick along the second."""
    length, rise = np.abs(offset[..., 0, None]), np.abs(offset[..., 1, None])
    step, drift = np.sign(offset[..., 0, None]), np.sign(offset[..., 1, None])
    travelled = (np.arange(size) - start[..., 0, None]) * np.where(step == 0, 1, step)  # [*b, n]
    # the whole number of side steps that keeps nearest to the line, half a step late
    drifted = -((length // 2 - travelled * rise) // np.maximum(length, 1))
    middle = start[..., 1, None] + drift * drifted
    on_line = (travelled >= 0) & (travelled <= length) & used[..., None]
    return Spans(
        first=np.where(on_line, middle - 1, _FAR), last=np.where(on_line, middle + 2, -_FAR)
    )
