"""What can be said of the dot in Wall: rooms, their parts, corners, edges and the door.

Two pairs of words are never heard together in training: lower with right, middle with left.
"""

from jepawm.captions import Captions, Place
from jepawm.envs.wall.dynamics import DEFAULT_GEOMETRY, WallGeometry

_CORNER, _EDGE = 14.0, 10.0  # pixels
_DOOR_DEPTH = 5.0  # pixels to each side of the wall's centre
_HELD_OUT = {("lower", "right"), ("middle", "left")}
_OTHER = {"upper": "top", "middle": "centre", "lower": "bottom"}
_TEMPLATES = ("{}", "go to {}", "move the dot to {}", "the dot is at {}", "reach {}")
_OTHER_TEMPLATES = ("please drive over to {}", "I want the red point at {}", "stop at {}")

Span = tuple[float, float]


def wall_captions(
    *, wall_x: float, door_y: float, geometry: WallGeometry = DEFAULT_GEOMETRY
) -> Captions:
    """Return the sentences about positions, in pixels, in a world with this wall and this door."""
    low, high = geometry.low, geometry.high
    middle, height = (low + high) / 2, (high - low) / 3
    faces = wall_x - geometry.wall_half_width, wall_x + geometry.wall_half_width
    rooms: dict[str, Span] = {"left": (low, faces[0]), "right": (faces[1], high)}
    sides: dict[str, Span] = {"left": (low, low + _CORNER), "right": (high - _CORNER, high)}
    bands: dict[str, Span] = {
        "upper": (low, low + height),
        "middle": (low + height, high - height),
        "lower": (high - height, high),
    }
    rows: dict[str, Span] = {
        "upper": (low, low + _CORNER),
        "middle": (middle - _CORNER / 2, middle + _CORNER / 2),
        "lower": (high - _CORNER, high),
    }
    places = [_room(side, room, (low, high)) for side, room in rooms.items()]
    for side, room in rooms.items():
        for row, span in rows.items():
            places.append(_part_of_room(row, side, room, bands[row]))
            places.append(_corner(row, side, sides[side], span))
    places += [
        _edge("left", "left", (low, low + _EDGE), (low, high)),
        _edge("right", "right", (high - _EDGE, high), (low, high)),
        _edge("upper", "top", (low, high), (low, low + _EDGE)),
        _edge("lower", "bottom", (low, high), (high - _EDGE, high)),
        _place(
            "door",
            (wall_x - _DOOR_DEPTH, wall_x + _DOOR_DEPTH),
            (door_y - geometry.door_half_height, door_y + geometry.door_half_height),
            phrases=("the door", "the door in the wall"),
            paraphrases=("the doorway", "the opening in the wall"),
        ),
    ]
    return Captions(places=tuple(places), templates=_TEMPLATES, other_templates=_OTHER_TEMPLATES)


def _room(side: str, x: Span, y: Span) -> Place:
    return _place(
        f"{side} room",
        x,
        y,
        phrases=(f"the {side} room", f"the room on the {side}"),
        paraphrases=(f"the {side} chamber", f"the {side} half of the world"),
    )


def _part_of_room(row: str, side: str, x: Span, y: Span) -> Place:
    other = _OTHER[row]
    return _place(
        f"{row} {side} room",
        x,
        y,
        phrases=(f"the {row} part of the {side} room", f"the {side} room, {row} part"),
        paraphrases=(f"the {other} of the {side} chamber", f"the {other} third of the {side} half"),
        held_out=(row, side) in _HELD_OUT,
    )


def _corner(row: str, side: str, x: Span, y: Span) -> Place:
    other = _OTHER[row]
    phrases = (f"the {row} {side} corner", f"the corner that is {row} and {side}")
    paraphrases = (f"the {other} {side} corner", f"the corner at the {other} on the {side}")
    if row == "middle":
        phrases = (f"the middle of the {side} edge", f"the {side} edge, in the middle")
        paraphrases = (f"the centre of the {side} border", f"half way down the {side} border")
    return _place(
        f"{row} {side} side",
        x,
        y,
        phrases=phrases,
        paraphrases=paraphrases,
        held_out=(row, side) in _HELD_OUT,
    )


def _edge(name: str, other: str, x: Span, y: Span) -> Place:
    return _place(
        f"{name} edge",
        x,
        y,
        phrases=(f"the {name} edge", f"the edge that is {name}"),
        paraphrases=(f"the {other} border", f"close to the {other} border"),
    )


def _place(
    name: str,
    x: Span,
    y: Span,
    *,
    phrases: tuple[str, ...],
    paraphrases: tuple[str, ...],
    held_out: bool = False,
) -> Place:
    low, high = (x[0], y[0]), (x[1], y[1])
    return Place(
        name=name,
        low=low,
        high=high,
        phrases=phrases,
        paraphrases=paraphrases,
        held_out=held_out,
    )
