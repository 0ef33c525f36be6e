"""Sentences are true where they say so, and what is held out is never learned."""

import numpy as np
import pytest

from jepawm.captions import SPLITS, Captions, Place
from jepawm.contracts import KnowsCaptions
from jepawm.envs.pointmaze.captions import pointmaze_captions
from jepawm.envs.wall.captions import wall_captions
from jepawm.envs.wall.env import WallBatch
from jepawm.errors import UserError

WALL = wall_captions(wall_x=32.0, door_y=30.0)
MAZE = pointmaze_captions()
BOX = Place(
    name="box", low=(0.0, 0.0), high=(10.0, 20.0), phrases=("the box",), paraphrases=("the crate",)
)


def test_a_place_holds_its_states_and_knows_how_far_others_are():
    states = np.array([[5.0, 5.0, 9.0], [10.0, 20.0, 0.0], [12.0, 10.0, 0.0], [5.0, 24.0, 0.0]])
    assert BOX.holds(states).tolist() == [True, True, False, False]
    # the inner part is a tenth smaller on each side: x from 1 to 9, y from 2 to 18
    assert BOX.distance(states).tolist() == [0.0, 1.0 + 4.0, 9.0, 36.0]
    assert BOX.middle_from((1.0, 1.0, 7.0)) == (5.0, 10.0, 7.0)


def test_wall_tells_corners_rooms_and_the_door():
    def true(x: float, y: float) -> set[str]:
        state = np.array([[x, y]])
        return {place.name for place in WALL.places if place.holds(state)[0]}

    corner = {"left room", "upper left room", "upper left side", "left edge", "upper edge"}
    assert true(6.0, 6.0) == corner
    assert true(32.0, 30.0) == {"door"}
    assert true(45.0, 40.0) == {"right room", "middle right room"}
    known = {one.text for one in WALL.sentences("seen")}
    assert {"go to the upper left corner", "the door", "reach the left room"} <= known
    assert isinstance(WallBatch(64), KnowsCaptions)


def test_the_maze_tells_its_arms():
    def true(x: float, y: float) -> set[str]:
        state = np.array([[x, y, 3.0, -3.0]])
        return {place.name for place in MAZE.places if place.holds(state)[0]}

    assert true(0.6, 0.6) == {"lower left", "left arm", "lower edge"}
    assert true(1.8, 2.8) == {"passage", "upper edge"}


@pytest.mark.parametrize("captions", [WALL, MAZE], ids=["wall", "pointmaze"])
def test_splits_share_no_sentence_and_held_out_words_are_learned_apart(captions: Captions):
    texts = {split: [one.text.lower() for one in captions.sentences(split)] for split in SPLITS}
    for split, each in texts.items():
        assert len(set(each)) == len(each) > 10, split  # no sentence means two places
    together = [text for each in texts.values() for text in each]
    assert len(set(together)) == len(together)
    learned = {word for text in texts["seen"] for word in text.split()}
    for text in texts["compositions"]:
        assert set(text.split()) <= learned
        assert not any(
            {"lower", "right"} <= set(one.split()) or {"middle", "left"} <= set(one.split())
            for one in texts["seen"]
        )


def test_captions_of_states_are_true_and_drawn_by_the_generator():
    states = np.random.default_rng(0).uniform(4, 60, (50, 2))
    drawn = [WALL.of(states, "seen", generator=np.random.default_rng(1)) for _ in range(2)]
    assert drawn[0] == drawn[1]
    told = 0
    for state, text in zip(states, drawn[0], strict=True):
        found = None if text is None else WALL.find(text)
        assert text is None or (found is not None and found.place.holds(state))
        told += text is not None
    assert told > 40


@pytest.mark.parametrize("split", SPLITS)
def test_instructions_are_not_done_at_the_start(split):
    starts = np.random.default_rng(0).uniform(4, 60, (200, 2))
    drawn = WALL.instructions(starts, split, generator=np.random.default_rng(3))
    again = WALL.instructions(starts, split, generator=np.random.default_rng(3))
    assert drawn == again
    assert not any(one.place.holds(start) for one, start in zip(drawn, starts, strict=True))
    assert len({one.place.name for one in drawn}) == len(
        {one.place.name for one in WALL.sentences(split)}
    )


def test_a_start_that_is_everywhere_is_told():
    captions = Captions(places=(BOX,), templates=("{}",), other_templates=("at {}",))
    with pytest.raises(UserError, match="start 0 is in all places"):
        captions.instructions(np.array([[5.0, 5.0]]), "seen", generator=np.random.default_rng(0))
    assert captions.find("The  BOX") is not None
    assert captions.find("the bag") is None
