"""Which pixels the reference's drawing calls fill: convex polygons, thick lines, discs.

Push-T is drawn without antialiasing on a canvas of 512 pixels, at corners rounded to whole pixels.
The rules here reproduce that pixel by pixel, for many shapes at once. A shape becomes spans: for
each of the rows (or columns) 0 to n - 1 the first and the last pixel it fills, `[*b, n]` each; the
first exceeds the last where it fills nothing.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

_FAR = 1 << 20  # beyond every canvas

# Filled pixels left of the centre in each row from the top of a disc to its middle; a disc is as
# many pixels wide and high as its diameter, and its centre lies right below the middle.
_DISC_HALF_WIDTHS = {
    2: (1, 2, 2, 1),
    11: (3, 5, 6, 8, 8, 9, 10, 10, 11, 11, 11, 11, 11, 11, 10, 10, 9, 8, 8, 6, 5, 3),
    15: (
        *(3, 6, 8, 9, 10, 11, 12, 13, 13, 14, 14, 14, 15, 15, 15),
        *(15, 15, 15, 14, 14, 14, 13, 13, 12, 11, 10, 9, 8, 6, 3),
    ),
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Spans:
    """Filled pixels of shapes `*b`, row by row (or column by column)."""

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
