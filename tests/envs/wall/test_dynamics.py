"""Known answers of the Wall dynamics: free moves, walls, door frame, corners, axis-aligned moves."""

import numpy as np
import pytest

from jepawm.envs.wall.dynamics import (
    WallGeometry,
    WallLayout,
    passes_wall,
    wall_rollout,
    wall_step,
)

PAPER = WallLayout.fixed()


def move(start, target, layout=PAPER, **options):
    start, target = np.array(start), np.array(target)
    return wall_step(start, (target - start) / 2, layout=layout, **options)


@pytest.mark.parametrize(
    ("start", "target", "result"),
    [
        ((20.0, 30.0), (30.0, 30.5), (30.0, 30.5)),  # into the door
        ((28.0, 30.0), (31.0, 30.5), (31.0, 30.5)),  # into the door
        ((32.0, 33.0), (33.0, 36.0), (32.8333, 33.5)),  # lower frame of the door
        ((32.0, 27.0), (33.0, 24.0), (32.8333, 26.5)),  # upper frame of the door
        ((10.0, 10.0), (3.0, 9.0), (4.5, 9.6429)),  # left border
        ((36.5, 50.0), (33.0, 48.0), (35.5, 49.6429)),  # wall from the right
        ((28.0, 50.0), (31.0, 48.5), (28.5, 50.0)),  # wall from the left
        ((50.0, 58.0), (52.0, 62.0), (51.5, 59.5)),  # lower border
        ((50.0, 6.0), (52.0, 2.0), (51.5, 4.5)),  # upper border
        ((6.0, 5.0), (2.0, 4.5), (4.5, 5.25)),  # near a corner, left border only
        ((6.0, 6.0), (2.0, 2.0), (4.5, 4.5)),  # into the corner
        ((5.0, 59.0), (3.5, 60.3), (4.5, 59.7)),  # pushed over the lower border, put inside
    ],
)
def test_moves_with_known_results(start, target, result):
    np.testing.assert_allclose(move(start, target), result, atol=1e-4)


def test_action_is_doubled_and_not_clipped():
    np.testing.assert_array_equal(
        wall_step(np.array([10.0, 10.0]), np.array([3.0, -2.5]), layout=PAPER), [16.0, 5.0]
    )


def test_of_two_hits_the_nearer_counts_and_the_horizontal_one_if_equal():
    left_first = move((6.0, 8.0), (0.0, 3.0))  # reaches x = 4 before y = 4
    np.testing.assert_allclose(left_first, (4.5, 8.0 - 5.0 / 3.0 + 0.5))
    equal = move((6.0, 6.0), (2.0, 2.0))
    np.testing.assert_allclose(equal, (4.5, 4.5))
    assert move((10.0, 6.0), (6.0, 2.0))[1] == 4.5


def test_door_and_wall_follow_the_layout():
    layout = WallLayout.fixed(20.0, 50.0)
    np.testing.assert_allclose(move((15.0, 50.0), (24.0, 50.5), layout), (24.0, 50.5))
    np.testing.assert_allclose(move((15.0, 30.0), (18.0, 30.6), layout), (16.5, 30.9))
    np.testing.assert_allclose(move((28.0, 30.0), (31.0, 30.6), layout), (31.0, 30.6))


def test_geometry_changes_the_world():
    small = WallGeometry(
        world_size=33, border=3, wall_width=4, door_half_height=2.0, step_scale=1.0
    )
    layout = WallLayout.fixed(16.0, 10.0)
    start, action = np.array([10.0, 20.0]), np.array([5.0, 0.5])
    stopped = wall_step(start, action, layout=layout, geometry=small)
    np.testing.assert_allclose(stopped, (13.5, 20.9))


@pytest.mark.parametrize("axis", [0, 1])
def test_axis_aligned_moves_are_finite_also_along_limits(axis):
    lines = np.array([4.0, 4.5, 26.0, 28.0, 29.0, 30.0, 32.0, 34.0, 35.0, 36.0, 59.7, 60.0])
    positions = np.stack(np.meshgrid(lines, lines), -1).reshape(-1, 1, 2)
    actions = np.zeros((7, 2))
    actions[:, axis] = [-20.0, -2.0, -0.5, 0.0, 0.5, 2.0, 20.0]
    moved = wall_step(*np.broadcast_arrays(positions, actions), layout=PAPER)
    assert np.isfinite(moved).all()


def test_axis_aligned_hit_keeps_its_coordinate_plus_push():
    np.testing.assert_allclose(move((10.0, 6.0), (10.0, 2.0)), (10.5, 4.5))
    np.testing.assert_allclose(move((6.0, 10.0), (2.0, 10.0)), (4.5, 10.5))
    np.testing.assert_allclose(move((32.0, 33.0), (32.0, 37.0)), (32.5, 33.5))


def test_no_random_walk_leaves_the_world_or_enters_the_wall():
    generator = np.random.default_rng(0)
    starts = np.stack([generator.uniform(5, 28, 300), generator.uniform(5, 59, 300)], axis=-1)
    path = wall_rollout(starts, generator.normal(0, 1, (300, 100, 2)), layout=PAPER)
    assert path.min() > 4
    assert path.max() < 60
    in_wall = (np.abs(path[..., 0] - 32) < 3) & (np.abs(path[..., 1] - 30) > 4)
    assert not in_wall.any()
    assert (path[:, -1, 0] > 35).any()  # some pass the door


@pytest.mark.parametrize(
    ("before", "after", "passes"),
    [
        ((20.0, 50.0), (44.0, 50.0), True),  # straight through
        ((44.0, 50.0), (20.0, 50.0), True),  # and back
        ((20.0, 30.0), (44.0, 30.0), False),  # by the door
        ((20.0, 22.0), (44.0, 38.0), False),  # by the door, slanting
        ((28.0, 10.0), (36.0, 50.0), True),  # through the wall on both sides of the door
        ((20.0, 50.0), (28.5, 50.0), False),  # up to the wall
        ((20.0, 10.0), (20.0, 58.0), False),  # along it
        ((32.0, 30.0), (32.0, 50.0), True),  # out of the door into the wall
        ((32.0, 28.0), (32.0, 32.0), False),  # within the door
        ((32.0, 50.0), (32.0, 50.0), True),  # it is inside already
        ((20.0, 50.0), (20.0, 50.0), False),  # it stands still
    ],
)
def test_ways_through_the_wall(before, after, passes: bool):
    ends = np.array([before]), np.array([after])
    assert passes_wall(*ends, layout=PAPER).tolist() == [passes]


def test_no_move_of_the_dot_passes_through_the_wall():
    generator = np.random.default_rng(1)
    starts = np.stack([generator.uniform(5, 28, 300), generator.uniform(5, 59, 300)], axis=-1)
    path = wall_rollout(starts, generator.normal(0, 2, (300, 100, 2)), layout=PAPER)
    assert not passes_wall(path[:, :-1], path[:, 1:], layout=PAPER).any()
    assert passes_wall(path[:, 0], path[:, -1], layout=PAPER).any()


def test_batched_equals_one_by_one():
    generator = np.random.default_rng(1)
    starts = generator.uniform(4.1, 59.9, (40, 5, 2))
    actions = generator.normal(0, 2, (40, 5, 2))
    layout = WallLayout(
        wall_x=generator.integers(20, 40, (40, 1)).astype(float),
        door_y=generator.integers(15, 45, (40, 1)).astype(float),
    )
    batched = wall_step(starts, actions, layout=layout)
    for row in range(40):
        one = WallLayout.fixed(float(layout.wall_x[row, 0]), float(layout.door_y[row, 0]))
        for column in range(5):
            single = wall_step(starts[row, column], actions[row, column], layout=one)
            np.testing.assert_array_equal(batched[row, column], single)


def test_inputs_stay_as_they_were():
    starts, actions = np.full((3, 2), 5.0), np.full((3, 2), -4.0)
    wall_step(starts, actions, layout=PAPER)
    assert (starts == 5.0).all()
    assert (actions == -4.0).all()


def test_20000_golden_moves_have_no_mismatch(golden_dir):
    with np.load(golden_dir / "wall_dynamics.npz") as case:
        rows = ~case["axis_aligned"]
        layout = WallLayout(
            wall_x=case["layout"][:, 0].astype(float), door_y=case["layout"][:, 1].astype(float)
        )
        moved = wall_step(
            case["position"].astype(float), case["action"].astype(float), layout=layout
        )
        assert len(rows) == 20_000
        assert np.isfinite(moved).all()
        assert np.abs(moved - case["next_position"])[rows].max() <= 2e-4
