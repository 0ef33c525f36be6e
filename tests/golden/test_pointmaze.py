"""Golden checks of PointMaze pass on the shared file, and fail when something is altered."""

from dataclasses import replace

import pytest

pytest.importorskip("mujoco", reason="PointMaze needs the extra 'mujoco'")

from jepawm.golden.case import GoldenError, load_case
from jepawm.golden.pointmaze import check_pointmaze_dynamics


def test_shared_case_passes(golden_dir):
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
def test_dynamics_take_their_options_from_the_file(golden_dir, option, value):
    case = load_case(golden_dir / "pointmaze_dynamics.npz")
    altered = replace(case, hyper=case.hyper | {option: value})
    assert not all(one.passed for one in check_pointmaze_dynamics(altered))


def test_what_is_not_known_is_said(golden_dir):
    case = load_case(golden_dir / "pointmaze_dynamics.npz")
    with pytest.raises(GoldenError, match="not Euler"):
        check_pointmaze_dynamics(replace(case, hyper=case.hyper | {"integrator": "RK4"}))
    with pytest.raises(GoldenError, match="three numbers"):
        check_pointmaze_dynamics(replace(case, hyper=case.hyper | {"friction": [0.5]}))
