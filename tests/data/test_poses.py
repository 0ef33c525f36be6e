from pathlib import Path

import numpy as np
import pytest

from jepawm.data.poses import (
    euler_angles,
    pose_differences,
    quaternion_matrices,
    rotation_matrices,
)


def test_a_turn_about_one_axis_is_its_angle():
    poses = np.zeros((2, 7))
    poses[1] = [1, 2, 3, 0, 0, 0.5, -1]
    assert pose_differences(poses) == pytest.approx(np.array([[1, 2, 3, 0, 0, 0.5, -1]]))
    poses[0, 5] = 3.0
    poses[1, 5] = -3.0  # across the half turn
    assert pose_differences(poses)[0, 5] == pytest.approx(2 * np.pi - 6)


def test_differences_of_a_real_clip(shared_data: Path):
    clip = np.load(shared_data / "franka_clip.npz")
    differences = pose_differences(clip["poses_sequence"][0])
    assert differences[:3] == pytest.approx(clip["actions"][0], abs=1e-5)


def test_angles_and_matrices_invert_each_other():
    angles = np.random.default_rng(0).uniform(-1.5, 1.5, (50, 3))
    rotations = rotation_matrices(angles)
    assert rotations @ rotations.transpose(0, 2, 1) == pytest.approx(
        np.broadcast_to(np.eye(3), (50, 3, 3)), abs=1e-12
    )
    assert euler_angles(rotations) == pytest.approx(angles)


def test_quaternions_are_w_first():
    half = np.sqrt(0.5)
    quarter_about = quaternion_matrices(np.array([[half, half, 0, 0], [2, 0, 0, 2]]))
    assert euler_angles(quarter_about) == pytest.approx(
        np.array([[np.pi / 2, 0, 0], [0, 0, np.pi / 2]])
    )
