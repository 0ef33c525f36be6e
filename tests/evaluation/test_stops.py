"""Where failed episodes stop, on distances with known answers."""

import numpy as np
import pytest

from jepawm.evaluation.stops import AWAY, LEFT, OSCILLATES, SHORT
from jepawm.evaluation.stops import where_stopped as where


@pytest.mark.parametrize(
    ("distances", "solved", "beside", "expected"),
    [
        ([10, 8, 7, 6, 5, 4, 4, 3, 2, 1, 2, 1, 2, 1, 2], False, [], OSCILLATES),
        ([10, 8, 7, 6, 5, 4, 3, 2, 0, 2, 4, 2, 4, 2, 4], True, [], OSCILLATES),
        ([10, 8, 6, 4, 0, 1, 2, 3, 4, 5, 6, 7], True, ["wall"], LEFT),
        ([10, 9, 8, 7, 6, 5, 5, 5, 5, 5, 5, 5], False, ["wall", "border"], "beside the wall"),
        (
            [10, 9, 8, 7, 7, 6, 6, 6, 5, 4, 5, 4, 5, 4, 5],
            False,
            [],
            SHORT,
        ),  # swings far from the goal
        ([10, 9, 8, 7, 6, 5, 4, 3, 2, 2, 2, 2], False, [], SHORT),  # stands still near it
        ([10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21], False, [], AWAY),
        ([10, 10], False, [], AWAY),
    ],
)
def test_where_an_episode_stopped(distances, solved: bool, beside: list[str], expected: str):
    assert where(np.array(distances, dtype=float), solved=solved, beside=beside) == expected
