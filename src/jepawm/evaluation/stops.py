"""Where a failed episode stops: at the goal in circles, past it, beside a wall, short of it."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

OSCILLATES = "oscillating at the goal"
LEFT = "past the goal"
SHORT = "short of the goal"
AWAY = "farther than at the start"
_NEAR = 0.25
"""Nearer than this part of the distance at the start is at the goal."""
_SWING, _RETURNS = 0.1, 3.0
"""An episode oscillates if the distance goes up and down by more than this part of the distance at
the start, and by this many times what remains of it."""


def where_stopped(
    distances: Float[np.ndarray, " T1"], *, solved: bool, beside: Sequence[str]
) -> str:
    """Say where a failed episode stopped; the first of these that holds.

    In circles at the goal: it came near or was there, and in the last third of the episode the
    distance rises and falls much more than it changes. Past the goal: it was there. Beside a place
    that the environment names. Else short of the goal, or farther from it than at the start.

    Args:
        distances: true distance to the goal `[T+1]`.
        solved: whether it was at the goal at some time.
        beside: what the last state is beside, by name.
    """
    start, end = float(distances[0]), float(distances[-1])
    tail = distances[-max(len(distances) // 3, 3) :]
    travelled = float(np.abs(np.diff(tail)).sum())
    swings = travelled > _SWING * start and travelled > _RETURNS * abs(end - float(tail[0]))
    if swings and (solved or float(tail.min()) < _NEAR * start):
        return OSCILLATES
    if solved:
        return LEFT
    if beside:
        return f"beside the {beside[0]}"
    return SHORT if end < start else AWAY
