"""Golden checks of environments pass on the shared files, and fail when something is altered."""

from dataclasses import replace

import numpy as np
import pytest

from jepawm.envs.wall.dynamics import WallGeometry, WallLayout
from jepawm.envs.wall.render import render_wall
from jepawm.golden.case import GoldenCase, GoldenError, load_case
from jepawm.golden.environments import (
    check_pointmaze_dynamics,
    check_pusht_dynamics,
    check_pusht_frames,
    check_wall_dynamics,
    check_wall_frames,
    check_wall_start_goal,
)

WALL_CHECKS = {
    "wall_dynamics": check_wall_dynamics,
    "wall_frames": check_wall_frames,
    "wall_start_goal": check_wall_start_goal,
}


@pytest.mark.parametrize("name", WALL_CHECKS)
def test_wall_shared_case_passes(golden_dir, name):
    comparisons = WALL_CHECKS[name](load_case(golden_dir / f"{name}.npz"))
    assert [one.name for one in comparisons if not one.passed] == []


@pytest.mark.parametrize(
    ("option", "value"),
    [("step_scale", 1.9), ("wall_width", 4), ("door_half_height", 3), ("success_distance", 3.0)],
)
def test_wall_dynamics_take_their_options_from_the_file(golden_dir, option, value):
    case = load_case(golden_dir / "wall_dynamics.npz")
    altered = replace(case, hyper=case.hyper | {option: value})
    assert not all(one.passed for one in check_wall_dynamics(altered))


def test_wall_start_goal_takes_its_ranges_from_the_file(golden_dir):
    case = load_case(golden_dir / "wall_start_goal.npz")
    altered = replace(case, hyper=case.hyper | {"y_range": [7.4, 50.0]})
    assert not all(one.passed for one in check_wall_start_goal(altered))
    with pytest.raises(GoldenError, match="x_ranges"):
        check_wall_start_goal(replace(case, hyper=case.hyper | {"x_ranges": [[1.0, 2.0]]}))


def test_wall_frames_of_other_sizes():
    positions = np.array([[15.0, 20.0], [40.0, 30.0]])
    geometry = WallGeometry(world_size=49, dot_std=1.2)
    layout = WallLayout(wall_x=np.array([24.0, 24.0]), door_y=np.array([20.0, 30.0]))
    frames = {
        f"frame_{size}": render_wall(positions, size, layout=layout, geometry=geometry)
        .permute(0, 2, 3, 1)
        .numpy()
        for size in (49, 96)
    }
    case = GoldenCase(
        name="wall_frames_small",
        hyper={"img_size": 49, "resize": 96, "dot_std": 1.2},
        meta={},
        arrays={"position": positions, "layout": np.array([[24, 20], [24, 30]]), **frames},
        tolerance={"frame_49_max_level": 0.0, "frame_96_max_level": 0.0},
    )
    assert [one.passed for one in check_wall_frames(case)] == [True, True]
    darker = {**case.arrays, "frame_96": frames["frame_96"] // 2}
    assert [one.passed for one in check_wall_frames(replace(case, arrays=darker))] == [True, False]


@pytest.mark.parametrize("check", [check_pusht_dynamics, check_pusht_frames])
def test_pusht_shared_case_passes(golden_dir, check):
    pytest.importorskip("pymunk", reason="Push-T needs the extra 'pusht' (pymunk)")
    comparisons = check(load_case(golden_dir / f"{check.__name__.removeprefix('check_')}.npz"))
    assert [one.name for one in comparisons if not one.passed] == []


@pytest.mark.parametrize(
    "changed",
    [
        {"action_scale": 90},
        {"k_p": 90},
        {"control_hz": 5},
        {"success": {"wrapped_angle_below": "pi/9", "xy4_norm_below": 100}},
        {"success": {"wrapped_angle_below": "pi/90", "xy4_norm_below": 20}},
    ],
)
def test_pusht_dynamics_take_their_options_from_the_file(golden_dir, changed):
    pytest.importorskip("pymunk", reason="Push-T needs the extra 'pusht' (pymunk)")
    case = load_case(golden_dir / "pusht_dynamics.npz")
    few = {"init", "actions", "states", "states64", "states_float64_actions"}
    few |= {"reward", "goal", "success", "state_dist"}
    arrays = {key: value[:4] if key in few else value for key, value in case.arrays.items()}
    small = replace(case, arrays=arrays)
    assert all(one.passed for one in check_pusht_dynamics(small)) or "success" in changed
    altered = replace(case, hyper=case.hyper | changed)
    assert not all(one.passed for one in check_pusht_dynamics(altered))


def test_pusht_altered_frames_fail(golden_dir):
    pytest.importorskip("pymunk", reason="Push-T needs the extra 'pusht' (pymunk)")
    case = load_case(golden_dir / "pusht_frames.npz")
    arrays = {key: value[:2].copy() for key, value in case.arrays.items()}
    arrays["frames"][1, 100:110, 100:120] = 0
    small = replace(case, arrays=arrays)
    assert [one.passed for one in check_pusht_frames(small)] == [True, False]
    with pytest.raises(GoldenError, match="canvas"):
        check_pusht_frames(replace(small, hyper=case.hyper | {"canvas": 256}))
    wrong_size = replace(small, hyper=case.hyper | {"render_size": 96})
    with pytest.raises(GoldenError, match="frames are"):
        check_pusht_frames(wrong_size)
    assert np.array_equal(arrays["frames"][0], case.arrays["frames"][0])


def test_pointmaze_shared_case_passes(golden_dir):
    pytest.importorskip("mujoco", reason="PointMaze needs the extra 'mujoco'")
    comparisons = check_pointmaze_dynamics(load_case(golden_dir / "pointmaze_dynamics.npz"))
    assert [one.name for one in comparisons if not one.passed] == []


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("gear", 90),
        ("frame_skip", 4),
        ("velocity_clip", 3),
        ("success_xy_distance", 1.0),
        ("particle_radius", 0.12),
        ("wall_half_size", [0.4, 0.5, 0.2]),
        ("maze", ["#####", "#GOO#", "#OOO#", "#OOO#", "#####"]),
    ],
)
def test_pointmaze_dynamics_take_their_options_from_the_file(golden_dir, option, value):
    pytest.importorskip("mujoco", reason="PointMaze needs the extra 'mujoco'")
    case = load_case(golden_dir / "pointmaze_dynamics.npz")
    altered = replace(case, hyper=case.hyper | {option: value})
    assert not all(one.passed for one in check_pointmaze_dynamics(altered))


def test_pointmaze_what_is_not_known_is_said(golden_dir):
    pytest.importorskip("mujoco", reason="PointMaze needs the extra 'mujoco'")
    case = load_case(golden_dir / "pointmaze_dynamics.npz")
    with pytest.raises(GoldenError, match="not Euler"):
        check_pointmaze_dynamics(replace(case, hyper=case.hyper | {"integrator": "RK4"}))
    with pytest.raises(GoldenError, match="three numbers"):
        check_pointmaze_dynamics(replace(case, hyper=case.hyper | {"friction": [0.5]}))
