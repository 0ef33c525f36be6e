"""Golden checks of Push-T pass on the shared files, and fail when something is altered."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("pymunk", reason="Push-T needs the extra 'pusht' (pymunk)")

from jepawm.golden.case import GoldenError, load_case
from jepawm.golden.pusht import check_pusht_dynamics, check_pusht_frames


@pytest.mark.parametrize("check", [check_pusht_dynamics, check_pusht_frames])
def test_shared_case_passes(golden_dir, check):
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
def test_dynamics_take_their_options_from_the_file(golden_dir, changed):
    case = load_case(golden_dir / "pusht_dynamics.npz")
    few = {"init", "actions", "states", "states64", "states_float64_actions"}
    few |= {"reward", "goal", "success", "state_dist"}
    arrays = {key: value[:4] if key in few else value for key, value in case.arrays.items()}
    small = replace(case, arrays=arrays)
    assert all(one.passed for one in check_pusht_dynamics(small)) or "success" in changed
    altered = replace(case, hyper=case.hyper | changed)
    assert not all(one.passed for one in check_pusht_dynamics(altered))


def test_altered_frames_fail(golden_dir):
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
