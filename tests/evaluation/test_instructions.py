"""Tasks in words: success is that a sentence holds, the oracle plans for its place."""

import numpy as np
import pytest

from jepawm.captions import SPLITS, Captions, Instruction, Place
from jepawm.contracts import Simulator
from jepawm.envs.wall.env import WallBatch
from jepawm.evaluation.instructions import InstructedEnv, draw_instructions, swap


def place(name: str, x: float, held_out: bool = False) -> Place:
    return Place(
        name=name,
        low=(x, 0.0),
        high=(x + 10.0, 65.0),
        phrases=(name,),
        paraphrases=(f"other {name}",),
        held_out=held_out,
    )


PLACES = (
    place("a", 5.0),
    place("b", 14.0),
    place("c", 45.0),
    place("d", 50.0, held_out=True),
    place("e", 10.0, held_out=True),
)
CAPTIONS = Captions(places=PLACES, templates=("{}", "go to {}"), other_templates=("at {}",))


def test_success_is_that_the_sentence_holds():
    env = WallBatch(32)
    tasks, drawn = draw_instructions(
        CAPTIONS, env.sample_tasks(0, num_tasks=6), split="seen", seed=3
    )
    told = InstructedEnv(env, drawn)
    assert isinstance(told, Simulator)
    told.reset(tasks[2:5])
    assert told.goal_text().texts == tuple(one.text for one in drawn[2:5])
    assert told.success().tolist() == [False] * 3
    middles = np.array([task.goal for task in tasks[2:5]])
    distances = told.goal_distance(np.repeat(middles[:, None], 2, axis=1))
    assert distances.shape == (3, 2)
    assert not distances.any()
    assert (told.goal_distance(told.states()[:, None]) > 0).all()
    at_goals = [
        type(task)(start=task.goal, goal=task.goal, parameters=task.parameters) for task in tasks
    ]
    told.reset(at_goals)
    assert told.success().all()


@pytest.mark.parametrize("split", SPLITS)
def test_the_same_seed_draws_the_same(split):
    tasks = WallBatch(32).sample_tasks(1, num_tasks=20)
    first, second = (draw_instructions(CAPTIONS, tasks, split=split, seed=5) for _ in range(2))
    assert first == second
    assert (
        draw_instructions(CAPTIONS, tasks, split=split, seed=6) != first or split == "compositions"
    )
    assert [task.start for task in first[0]] == [task.start for task in tasks]


def test_swapped_texts_are_about_places_apart():
    told = [Instruction(text=one.name, place=one) for one in PLACES[:4]]
    assert swap(told) == ["c", "d", "a", "b"]
    assert swap([*told[:2], *told[:2]]) == ["b", "a", "b", "a"]  # they overlap
    alone = [Instruction(text="one", place=PLACES[0])] * 2
    assert swap(alone) == ["one", "one"]
