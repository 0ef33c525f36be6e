"""Golden checks of Wall pass on the shared files, and fail when something is altered."""

from dataclasses import replace

import numpy as np
import pytest

from jepawm.envs.wall.dynamics import WallGeometry, WallLayout
from jepawm.envs.wall.render import render_wall
from jepawm.golden.case import GoldenCase, GoldenError, load_case
from jepawm.golden.wall import check_wall_dynamics, check_wall_frames, check_wall_start_goal

CHECKS = {
    "wall_dynamics": check_wall_dynamics,
    "wall_frames": check_wall_frames,
    "wall_start_goal": check_wall_start_goal,
}


@pytest.mark.parametrize("name", CHECKS)
def test_shared_case_passes(golden_dir, name):
    comparisons = CHECKS[name](load_case(golden_dir / f"{name}.npz"))
    assert [one.name for one in comparisons if not one.passed] == []


@pytest.mark.parametrize(
    ("option", "value"),
    [("step_scale", 1.9), ("wall_width", 4), ("door_half_height", 3), ("success_distance", 3.0)],
)
def test_dynamics_take_their_options_from_the_file(golden_dir, option, value):
    case = load_case(golden_dir / "wall_dynamics.npz")
    altered = replace(case, hyper=case.hyper | {option: value})
    assert not all(one.passed for one in check_wall_dynamics(altered))


def test_start_goal_takes_its_ranges_from_the_file(golden_dir):
    case = load_case(golden_dir / "wall_start_goal.npz")
    altered = replace(case, hyper=case.hyper | {"y_range": [7.4, 50.0]})
    assert not all(one.passed for one in check_wall_start_goal(altered))
    with pytest.raises(GoldenError, match="x_ranges"):
        check_wall_start_goal(replace(case, hyper=case.hyper | {"x_ranges": [[1.0, 2.0]]}))


def test_frames_of_other_sizes():
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
