"""How the dot of the Wall environment moves: free steps, walls, door frame (NumPy, float64).

Coordinates are pixels of the native 65 x 65 world, x to the right and y down. The rules, their
order and their oddities are those of the JEPA-WM paper's environment, see docs/environments/wall.md.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

_TANGENTIAL_PUSH = 0.5  # always towards positive x or y
_NORMAL_PUSH = 0.5
_BESIDE = 2.0  # pixels; an action of length 1 asks for as much
_DEEP = 1.0  # pixels; collisions push a dot by less than that
_INSIDE = 0.3  # how far inside its room a position on or over a limit is put


@dataclass(frozen=True, kw_only=True)
class WallGeometry:
    """What is the same for every layout of the world."""

    world_size: int = 65
    """Side of the world and of the native image, in pixels."""
    border: int = 5
    """Border lines are at `border - 1` and `world_size - border`, in pixels."""
    wall_width: int = 6
    """The wall reaches half of this (rounded down) to each side of its centre, in pixels."""
    door_half_height: float = 4.0
    """The door reaches this far above and below its centre, in pixels."""
    step_scale: float = 2.0
    """Displacement in pixels that an action of length 1 asks for."""
    success_distance: float = 4.5
    """A dot nearer to the goal than this has succeeded, in pixels."""
    dot_std: float = 1.7
    """Standard deviation of the dot's Gaussian, in pixels."""

    @property
    def low(self) -> float:
        """Return the coordinate of the left and upper border line."""
        return float(self.border - 1)

    @property
    def high(self) -> float:
        """Return the coordinate of the right and lower border line."""
        return float(self.world_size - self.border)

    @property
    def wall_half_width(self) -> float:
        """Return the distance from the wall's centre to its faces."""
        return float(self.wall_width // 2)


DEFAULT_GEOMETRY = WallGeometry()
"""The paper's world."""


@dataclass(frozen=True, kw_only=True)
class WallLayout:
    """Where wall and door are, for a batch `*b` of worlds (or arrays that broadcast to it)."""

    wall_x: Float[np.ndarray, "*b"]
    """Centre of the wall `[*b]`, in pixels."""
    door_y: Float[np.ndarray, "*b"]
    """Centre of the door `[*b]`, in pixels."""

    @classmethod
    def fixed(cls, wall_x: float = 32.0, door_y: float = 30.0) -> "WallLayout":
        """Build the layout of one world, `*b` empty; by default the paper's."""
        return cls(wall_x=np.asarray(float(wall_x)), door_y=np.asarray(float(door_y)))

    def unsqueeze(self) -> "WallLayout":
        """Append a batch axis of length 1, to be shared by candidates."""
        return WallLayout(wall_x=self.wall_x[..., None], door_y=self.door_y[..., None])


def wall_step(
    positions: Float[np.ndarray, "*b 2"],
    actions: Float[np.ndarray, "*b 2"],
    *,
    layout: WallLayout,
    geometry: WallGeometry = DEFAULT_GEOMETRY,
) -> Float[np.ndarray, "*b 2"]:
    """Move dots by `step_scale * actions` and resolve collisions.

    Positions `[*b, 2]` in pixels; actions `[*b, 2]` are not clipped. Returns float64 `[*b, 2]`.
    Where a component of the action is exactly 0 the reference divides by zero; here the crossing
    point is then the position itself, so the result is finite.
    """
    positions = np.asarray(positions, dtype=np.float64)
    targets = positions + geometry.step_scale * np.asarray(actions, dtype=np.float64)
    busy = ~_stays_in_room(positions, targets, layout=layout, geometry=geometry)
    if busy.any():
        rows = WallLayout(
            wall_x=np.broadcast_to(layout.wall_x, busy.shape)[busy],
            door_y=np.broadcast_to(layout.door_y, busy.shape)[busy],
        )
        targets[busy] = _collide(positions[busy], targets[busy], layout=rows, geometry=geometry)
    return targets


def wall_rollout(
    positions: Float[np.ndarray, "*b 2"],
    actions: Float[np.ndarray, "*b T 2"],
    *,
    layout: WallLayout,
    geometry: WallGeometry = DEFAULT_GEOMETRY,
) -> Float[np.ndarray, "*b T 2"]:
    """Step dots through actions `[*b, T, 2]`; returns the positions `[*b, T, 2]` after each."""
    result = np.empty(actions.shape, dtype=np.float64)
    for t in range(actions.shape[-2]):
        positions = wall_step(positions, actions[..., t, :], layout=layout, geometry=geometry)
        result[..., t, :] = positions
    return result


def passes_wall(
    before: Float[np.ndarray, "*b 2"],
    after: Float[np.ndarray, "*b 2"],
    *,
    layout: WallLayout,
    geometry: WallGeometry = DEFAULT_GEOMETRY,
) -> Bool[np.ndarray, "*b"]:
    """Return which straight ways pass through the wall, more than a pixel deep, beside its door."""
    half = geometry.wall_half_width - _DEEP
    x, change = before[..., 0] - layout.wall_x, after[..., 0] - before[..., 0]
    still = change == 0.0
    ends = (np.stack([-half - x, half - x])) / np.where(still, 1.0, change)
    entered, left = np.clip(np.sort(ends, axis=0), 0.0, 1.0)  # parts of the way inside
    inside = np.where(still, np.abs(x) < half, left > entered)
    entered, left = np.where(still, 0.0, entered), np.where(still, 1.0, left)
    y, climb = before[..., 1] - layout.door_y, after[..., 1] - before[..., 1]
    highest = np.maximum(np.abs(y + entered * climb), np.abs(y + left * climb))
    return np.asarray(inside & (highest > geometry.door_half_height + _DEEP))


def beside_places(
    positions: Float[np.ndarray, "*b 2"],
    *,
    layout: WallLayout,
    geometry: WallGeometry = DEFAULT_GEOMETRY,
) -> dict[str, Bool[np.ndarray, "*b"]]:
    """Return which dots are in the door, beside the wall and at the border: within 2 pixels of it."""
    x, y = positions[..., 0], positions[..., 1]
    at_wall = np.abs(x - layout.wall_x) <= geometry.wall_half_width + _BESIDE
    in_door = at_wall & (np.abs(y - layout.door_y) <= geometry.door_half_height)
    nearest = np.minimum(positions - geometry.low, geometry.high - positions).min(-1)
    return {"door": in_door, "wall": at_wall & ~in_door, "border": nearest <= _BESIDE}


def _stays_in_room(
    positions: Float[np.ndarray, "*b 2"],
    targets: Float[np.ndarray, "*b 2"],
    *,
    layout: WallLayout,
    geometry: WallGeometry,
) -> Bool[np.ndarray, "*b"]:
    """Return where start and target are strictly inside one room: no rule can apply."""
    x, y = positions[..., 0], positions[..., 1]
    to_x, to_y = targets[..., 0], targets[..., 1]
    face_left = layout.wall_x - geometry.wall_half_width
    face_right = layout.wall_x + geometry.wall_half_width
    lowest, highest = np.minimum(x, to_x), np.maximum(x, to_x)
    in_room = (highest < face_left) | (lowest > face_right)
    in_room &= (lowest > geometry.low) & (highest < geometry.high)
    in_room &= (np.minimum(y, to_y) > geometry.low) & (np.maximum(y, to_y) < geometry.high)
    return np.asarray(in_room)  # also for a single dot, where it is a NumPy scalar


def _collide(
    positions: Float[np.ndarray, "n 2"],
    targets: Float[np.ndarray, "n 2"],
    *,
    layout: WallLayout,
    geometry: WallGeometry,
) -> Float[np.ndarray, "n 2"]:
    """Resolve collisions of `n` moves: first the frame of the door, then walls and borders."""
    result = _hit_walls(positions, targets, layout=layout, geometry=geometry)
    (x, y), (_, to_y) = positions.T, targets.T
    down = to_y > y
    edge = layout.door_y + np.where(down, 1.0, -1.0) * geometry.door_half_height
    passes = np.where(down, (to_y > edge) & (edge > y), (to_y < edge) & (edge < y))
    cross_x = x + _fraction(y, to_y, edge) * (targets[:, 0] - x)
    frame = passes & (np.abs(cross_x - layout.wall_x) <= geometry.wall_half_width)
    result[frame, 0] = cross_x[frame] + _TANGENTIAL_PUSH
    result[frame, 1] = (edge - np.where(down, _NORMAL_PUSH, -_NORMAL_PUSH))[frame]
    return result


def _hit_walls(
    positions: Float[np.ndarray, "n 2"],
    targets: Float[np.ndarray, "n 2"],
    *,
    layout: WallLayout,
    geometry: WallGeometry,
) -> Float[np.ndarray, "n 2"]:
    """Stop `n` moves at the limits of the room in which they start; the door lets them pass."""
    (x, y), (to_x, to_y) = positions.T, targets.T
    in_left_room = layout.wall_x > x
    left = np.where(in_left_room, geometry.low, layout.wall_x + geometry.wall_half_width)
    right = np.where(in_left_room, layout.wall_x - geometry.wall_half_width, geometry.high)

    def blocked(limit: np.ndarray, has_door: np.ndarray) -> np.ndarray:
        cross_y = y + _fraction(x, to_x, limit) * (to_y - y)
        through_door = np.abs(cross_y - layout.door_y) <= geometry.door_half_height
        return _crosses(x, to_x, limit) & ~(has_door & through_door)

    hit_left = blocked(left, ~in_left_room)
    vertical = hit_left | blocked(right, in_left_room)
    face_x = np.where(hit_left, left, right)
    hit_top = _crosses(y, to_y, geometry.low)
    horizontal = hit_top | _crosses(y, to_y, geometry.high)
    face_y = np.where(hit_top, geometry.low, geometry.high)

    part_x, part_y = _fraction(x, to_x, face_x), _fraction(y, to_y, face_y)
    vertical &= ~horizontal | (part_x < part_y)  # the nearer hit counts, horizontal if equal
    horizontal &= ~vertical
    result = targets.copy()
    stop_x, stop_y = face_x, y + part_x * (to_y - y)
    result[vertical] = _push_back(x, stop_x, stop_y)[vertical]
    stop_x, stop_y = x + part_y * (to_x - x), face_y
    result[horizontal] = _push_back(y, stop_y, stop_x)[horizontal][:, ::-1]
    hit = vertical | horizontal
    result[hit, 0] = _inside(result[hit, 0], left[hit], right[hit])
    result[hit, 1] = _inside(result[hit, 1], geometry.low, geometry.high)
    return result


def _crosses(
    start: Float[np.ndarray, " n"], target: Float[np.ndarray, " n"], limit: np.ndarray | float
) -> Bool[np.ndarray, " n"]:
    """Return where a move along one axis reaches or leaves the plane at `limit`."""
    return np.sign(start - limit) * np.sign(target - limit) <= 0.1


def _fraction(
    start: Float[np.ndarray, " n"], target: Float[np.ndarray, " n"], limit: np.ndarray | float
) -> Float[np.ndarray, " n"]:
    """Return which part of each move is before the plane; 0 where it runs along the plane."""
    change = target - start
    still = change == 0.0
    return np.where(still, 0.0, (limit - start) / np.where(still, 1.0, change))


def _push_back(
    start: Float[np.ndarray, " n"],
    normal: Float[np.ndarray, " n"],
    tangential: Float[np.ndarray, " n"],
) -> Float[np.ndarray, "n 2"]:
    """Move crossing points off the plane towards `start`; returns (normal, tangential)."""
    towards = np.sign(start - normal)
    return np.stack([normal + towards * _NORMAL_PUSH, tangential + _TANGENTIAL_PUSH], axis=1)


def _inside(
    values: Float[np.ndarray, " n"], low: np.ndarray | float, high: np.ndarray | float
) -> Float[np.ndarray, " n"]:
    """Put values on or beyond a limit a little inside it."""
    values = np.where(values <= low, low + _INSIDE, values)
    return np.where(values >= high, high - _INSIDE, values)
