"""The T of Push-T: its two rectangles, where they are in the world, and how far poses agree."""

import numpy as np
from jaxtyping import Float

_LENGTH, _THICKNESS = 120.0, 30.0

BLOCK_SHAPES: Float[np.ndarray, "2 4 2"] = np.array(
    [
        [  # the bar
            (-_LENGTH / 2, 0.0),
            (_LENGTH / 2, 0.0),
            (_LENGTH / 2, _THICKNESS),
            (-_LENGTH / 2, _THICKNESS),
        ],
        [  # the stem
            (-_THICKNESS / 2, _THICKNESS),
            (_THICKNESS / 2, _THICKNESS),
            (_THICKNESS / 2, _LENGTH),
            (-_THICKNESS / 2, _LENGTH),
        ],
    ]
)
"""Corners of bar and stem in the block's own coordinates, in pixels."""

CENTER_OF_GRAVITY = (0.0, 45.0)
"""The block turns about this point: the mean of the two centres, although the bar weighs more."""

TARGET_POSE = (256.0, 256.0, np.pi / 4)
"""The pose (x, y, angle) that is drawn in green and that the reward counts."""

_FULL_REWARD = 0.95  # covered part of the target that earns all of the reward
_AREA = 2 * _LENGTH * _THICKNESS - _THICKNESS**2


def place_block(poses: Float[np.ndarray, "*b 3"]) -> Float[np.ndarray, "*b 2 4 2"]:
    """Return the corners `[*b, 2, 4, 2]` of blocks at poses (x, y, angle) `[*b, 3]`."""
    cos, sin = np.cos(poses[..., 2]), np.sin(poses[..., 2])
    rotation = np.stack([np.stack([cos, -sin], -1), np.stack([sin, cos], -1)], -2)  # [*b, 2, 2]
    corners = np.einsum("...ij,pkj->...pki", rotation, BLOCK_SHAPES)
    return corners + poses[..., None, None, :2]


def target_reward(pose: Float[np.ndarray, " 3"]) -> float:
    """Return the reward of a block at `pose` (x, y, angle): covered part / 0.95, at most 1."""
    return min(covered_part(pose, np.asarray(TARGET_POSE)) / _FULL_REWARD, 1.0)


def covered_part(pose: Float[np.ndarray, " 3"], target: Float[np.ndarray, " 3"]) -> float:
    """Return which part of a block at `target` a block at `pose` covers."""
    placed, wanted = place_block(pose), place_block(target)
    overlap = sum(polygon_area(clip_polygon(one, other)) for one in placed for other in wanted)
    return float(overlap) / _AREA


def clip_polygon(
    polygon: Float[np.ndarray, "n 2"], window: Float[np.ndarray, "m 2"]
) -> Float[np.ndarray, "k 2"]:
    """Return the part of a convex polygon inside a convex window, both turning the same way."""
    inside = [tuple(corner) for corner in polygon.tolist()]
    corners = window.tolist()
    sign = np.sign(_signed_area(window))
    for (x1, y1), (x2, y2) in zip(corners, corners[1:] + corners[:1], strict=True):
        side = [sign * ((x2 - x1) * (y - y1) - (y2 - y1) * (x - x1)) for x, y in inside]
        clipped: list[tuple[float, float]] = []
        for index, (point, height) in enumerate(zip(inside, side, strict=True)):
            before, height_before = inside[index - 1], side[index - 1]
            if (height >= 0) != (height_before >= 0):
                part = height_before / (height_before - height)
                crossing = tuple(b + part * (p - b) for b, p in zip(before, point, strict=True))
                clipped.append((crossing[0], crossing[1]))
            if height >= 0:
                clipped.append(point)
        inside = clipped
    return np.array(inside).reshape(-1, 2)


def polygon_area(polygon: Float[np.ndarray, "n 2"]) -> float:
    """Return the area of a polygon, whichever way it turns."""
    return abs(_signed_area(polygon))


def _signed_area(polygon: Float[np.ndarray, "n 2"]) -> float:
    x, y = polygon.T
    return float(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2
