"""Protocols: the paper's numbers, what cannot be run, and tasks that are named by their hash."""

import pytest

from jepawm.envs.wall.env import WallBatch
from jepawm.errors import UserError
from jepawm.protocol import PROTOCOLS, Protocol, draw_tasks, hash_tasks, task_seed
from jepawm.types import Task


def test_paper_is_one_open_loop_plan():
    paper = PROTOCOLS["paper"]
    assert (paper.horizon, paper.num_action_steps, paper.frameskip) == (6, 6, 5)
    assert (paper.max_env_steps, paper.num_steps, paper.num_plans) == (30, 6, 1)
    assert paper.success == "end"


def test_mpc_replans_every_block():
    mpc = PROTOCOLS["mpc"]
    assert (mpc.num_action_steps, mpc.max_env_steps) == (1, 60)
    assert (mpc.num_steps, mpc.num_plans) == (12, 12)


def test_last_plan_may_be_cut_short():
    assert Protocol(name="x", horizon=6, num_action_steps=4, max_env_steps=50).num_plans == 3


def test_names_are_keys():
    assert all(protocol.name == name for name, protocol in PROTOCOLS.items())


def test_a_strict_reading_says_so_in_its_name():
    paper = PROTOCOLS["paper"]
    assert paper.read_strictly() == paper
    assert paper.read_strictly(hold_steps=1) == paper
    strict = paper.read_strictly(hold_steps=5, swept=True, object_only=True)
    assert strict.name == "paper-held5-swept-object"
    assert (strict.hold_steps, strict.swept, strict.object_only) == (5, True, True)
    assert strict.read_strictly(swept=True) == strict
    assert strict.read_strictly(hold_steps=1).name.endswith("-held1")


@pytest.mark.parametrize(
    "fields",
    [
        {"horizon": 0},
        {"num_action_steps": 7},
        {"frameskip": 0},
        {"max_env_steps": 32},
        {"goal_steps": 0},
        {"oracle_samples": 0},
        {"oracle_iterations": 0},
        {"success": "sometimes"},
    ],
)
def test_bad_fields_are_refused(fields):
    with pytest.raises((UserError, TypeError), match=next(iter(fields))):
        Protocol(name="x", **fields)


def test_splits_never_share_a_seed():
    val = {task_seed(seed, "val") for seed in range(300)}
    test = {task_seed(seed, "test") for seed in range(300)}
    assert len(val) == len(test) == 300
    assert max(val) < 2**31 <= min(test)
    assert max(test) < 2**32


def test_same_seed_same_tasks():
    env = WallBatch(image_size=16)
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


def test_bad_numbers_of_tasks_are_refused():
    env = WallBatch(image_size=16)
    with pytest.raises(UserError, match="episodes = 0"):
        draw_tasks(env, num_tasks=0, seed=0, split="test")
    with pytest.raises(UserError, match="seed = -1"):
        draw_tasks(env, num_tasks=1, seed=-1, split="test")
