"""Tasks: reproducible, apart from each other, named by their hash."""

import pytest

from jepawm.errors import UserError
from jepawm.evaluation.tasks import draw_tasks, hash_tasks, task_seed
from jepawm.types import Task


def test_splits_never_share_a_seed():
    val = {task_seed(seed, "val") for seed in range(300)}
    test = {task_seed(seed, "test") for seed in range(300)}
    assert len(val) == len(test) == 300
    assert max(val) < 2**31 <= min(test)
    assert max(test) < 2**32


def test_same_seed_same_tasks(env):
    first = draw_tasks(env, num_tasks=4, seed=7, split="test")
    assert draw_tasks(env, num_tasks=4, seed=7, split="test") == first
    assert draw_tasks(env, num_tasks=4, seed=7, split="val") != first
    assert draw_tasks(env, num_tasks=4, seed=8, split="test") != first


def test_hash_is_the_sha256_of_canonical_json():
    """The expected value is `sha256sum` of the text, computed elsewhere.

    The text: `[{"goal":[2.0],"parameters":{"a":1.0,"b":0.5},"start":[1.0]}]`.
    """
    task = Task(start=(1.0,), goal=(2.0,), parameters={"b": 0.5, "a": 1.0})
    expected = "05fa34c5e3970d35944832b2784706a6ddb78f6e279da388d0664596fa9a0856"
    assert hash_tasks([task]) == expected


def test_hash_sees_every_number_and_the_order():
    one = Task(start=(1.0,), goal=(2.0,))
    two = Task(start=(1.0,), goal=(2.0000000000000004,))
    hashes = {hash_tasks(tasks) for tasks in ([one, two], [two, one], [one], [one, one])}
    assert len(hashes) == 4


def test_bad_numbers_are_refused(env):
    with pytest.raises(UserError, match="episodes = 0"):
        draw_tasks(env, num_tasks=0, seed=0, split="test")
    with pytest.raises(UserError, match="seed = -1"):
        draw_tasks(env, num_tasks=1, seed=-1, split="test")
