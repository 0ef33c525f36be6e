"""What can be said of the ball in PointMaze's U: its arms, their parts, and the passage between them.

Two pairs of words are never heard together in training: lower with right, middle with left.
"""

from jepawm.captions import Captions, Place

_THIRDS = ((0.2, 1.3), (1.3, 2.3), (2.3, 3.4))  # metres; x = y = 0 is below the lower left cell
_ROWS: dict[str, tuple[float, float]] = dict(
    zip(("lower", "middle", "upper"), _THIRDS, strict=True)
)
_ARMS = {"left": _THIRDS[0], "right": _THIRDS[2]}
_OTHER = {"upper": "top", "middle": "centre", "lower": "bottom"}
_HELD_OUT = {("lower", "right"), ("middle", "left")}
_TEMPLATES = ("{}", "go to {}", "roll the ball to {}", "the ball is in {}", "reach {}")
_OTHER_TEMPLATES = ("please drive over to {}", "I want the green sphere in {}", "stop in {}")
_ALL = (_THIRDS[0][0], _THIRDS[2][1])


def pointmaze_captions() -> Captions:
    """Return the sentences about places in the paper's maze; velocities are free."""
    places = [_part(row, arm) for arm in _ARMS for row in _ROWS]
    for arm, (left, right) in _ARMS.items():
        places.append(
            Place(
                name=f"{arm} arm",
                low=(left, _ALL[0]),
                high=(right, _ALL[1]),
                phrases=(f"the {arm} arm", f"the arm on the {arm}"),
                paraphrases=(f"the {arm} corridor", f"the {arm} side of the labyrinth"),
            )
        )
    upper, lower, between = _ROWS["upper"], _ROWS["lower"], _THIRDS[1]
    places += [
        Place(
            name="upper edge",
            low=(_ALL[0], upper[0]),
            high=(_ALL[1], upper[1]),
            phrases=("the upper part of the maze", "the upper edge"),
            paraphrases=("the top of the labyrinth", "the top border"),
        ),
        Place(
            name="lower edge",
            low=(_ALL[0], lower[0]),
            high=(_ALL[1], lower[1]),
            phrases=("the lower part of the maze", "the lower edge"),
            paraphrases=("the bottom of the labyrinth", "the bottom border"),
        ),
        Place(
            name="passage",
            low=(between[0], upper[0]),
            high=(between[1], upper[1]),
            phrases=("the passage between the arms", "the passage that joins both arms"),
            paraphrases=("the connection between the corridors", "the link of the two corridors"),
        ),
    ]
    return Captions(places=tuple(places), templates=_TEMPLATES, other_templates=_OTHER_TEMPLATES)


def _part(row: str, arm: str) -> Place:
    (left, right), (low, high) = _ARMS[arm], _ROWS[row]
    other = _OTHER[row]
    return Place(
        name=f"{row} {arm}",
        low=(left, low),
        high=(right, high),
        phrases=(f"the {row} {arm} of the maze", f"the {row} part of the {arm} arm"),
        paraphrases=(f"the {other} {arm} of the labyrinth", f"the {other} of the {arm} corridor"),
        held_out=(row, arm) in _HELD_OUT,
    )
