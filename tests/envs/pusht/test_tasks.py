"""Starts and goals of Push-T: the reference's draws, success, replays, refusals."""

import numpy as np
import pytest

from jepawm.envs.pusht.dynamics import PushTPhysics
from jepawm.envs.pusht.tasks import (
    angle_distance,
    block_solved,
    pusht_states,
    replay_pusht_tasks,
    sample_pusht_tasks,
    solved,
    start_goal,
)
from jepawm.errors import UserError


def test_draws_equal_the_reference_for_seed_10():
    start, goal = start_goal(10)
    np.testing.assert_allclose(start, [315, 175, 115, 223, -1.25750848, 0, 0], atol=1e-8)
    np.testing.assert_allclose(goal, [419, 58, 173, 356, 4.36363901, 0, 0], atol=1e-8)


def test_all_golden_draws(golden_dir):
    with np.load(golden_dir / "pusht_dynamics.npz") as case:
        drawn = [np.concatenate(start_goal(int(seed))) for seed in case["start_goal_seeds"]]
        np.testing.assert_allclose(np.stack(drawn), case["start_goal"], atol=1e-9)


def test_success_needs_places_and_angle_and_no_velocity():
    goal = np.array([100.0, 100.0, 200.0, 200.0, 0.1, 0.0, 0.0])
    steps = np.zeros((6, 7))
    steps[0, :4] = 9.9  # norm 19.8
    steps[1, :4] = 10.1
    steps[2, 4] = 0.34  # pi/9 is 0.349
    steps[3, 4] = 0.36
    steps[4, 4] = 2 * np.pi - 0.34
    steps[5, 5:] = 500.0
    assert solved(goal + steps, goal).tolist() == [True, False, True, False, True, True]
    strict = PushTPhysics(success_distance=10.0, success_angle=0.1)
    assert solved(goal + steps, goal, physics=strict).tolist() == [False] * 5 + [True]


def test_of_the_block_alone_place_and_angle_count():
    goal = np.array([100.0, 100.0, 200.0, 200.0, 0.1, 0.0, 0.0])
    steps = np.zeros((5, 7))
    steps[0, :2] = 300.0  # the agent is far away
    steps[1, 2:4] = 14.1  # norm 19.9
    steps[2, 2:4] = 14.2
    steps[3, 4] = 0.34  # pi/9 is 0.349
    steps[4, 4] = 0.36
    assert block_solved(goal + steps, goal).tolist() == [True, True, False, True, False]


def test_angles_are_compared_around_the_circle():
    angles = np.array([0.1, 3.0, -3.0, 7 * np.pi])
    others = np.array([2 * np.pi, -3.0, 3.0, 0.0])
    np.testing.assert_allclose(
        angle_distance(angles, others), [0.1, 2 * np.pi - 6, 2 * np.pi - 6, np.pi]
    )


def test_same_seed_same_tasks_and_longer_lists_begin_alike():
    tasks = sample_pusht_tasks(3, num_tasks=20)
    assert tasks == sample_pusht_tasks(3, num_tasks=20)
    assert tasks[:5] == sample_pusht_tasks(3, num_tasks=5)
    assert tasks != sample_pusht_tasks(4, num_tasks=20)


def test_tasks_that_start_solved_are_left_out():
    lenient = PushTPhysics(success_distance=300.0, success_angle=4.0)
    tasks = sample_pusht_tasks(0, num_tasks=20, physics=lenient)
    for task in tasks:
        assert not solved(np.array(task.start), np.array(task.goal), physics=lenient)
    assert tasks != sample_pusht_tasks(0, num_tasks=20)


def test_replayed_tasks_are_solved_by_their_actions():
    pytest.importorskip("pymunk", reason="Push-T needs the extra 'pusht' (pymunk)")
    from jepawm.envs.pusht.env import PushTBatch

    starts = np.stack([start_goal(seed)[0] for seed in range(4)])
    actions = np.random.default_rng(0).normal(0, 0.4, (4, 12, 2))
    batch = PushTBatch()
    tasks = replay_pusht_tasks(starts, actions)
    batch.reset(tasks)
    for t in range(12):
        batch.step(actions[:, t])
    assert batch.success().all()
    np.testing.assert_array_equal(batch.states(), [task.goal for task in tasks])


def test_bad_tasks_are_refused():
    good = (100.0,) * 4 + (0.0,) * 3
    for bad in (good[:5], (*good[:6], float("nan"))):
        with pytest.raises(UserError, match=r"the start of task 1 is .*7 finite numbers"):
            pusht_states([good, bad], "the start")
    with pytest.raises(UserError, match="far outside"):
        pusht_states([(2000.0, *good[1:])], "the goal")
    with pytest.raises(UserError, match="num_tasks = 0"):
        sample_pusht_tasks(0, num_tasks=0)
    with pytest.raises(UserError, match="seed = -1"):
        sample_pusht_tasks(-1, num_tasks=1)
