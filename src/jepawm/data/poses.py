"""Poses of a robot's hand: differences between them, and their angles in other forms."""

import numpy as np
from jaxtyping import Float


def pose_differences(poses: Float[np.ndarray, "L 7"]) -> Float[np.ndarray, "m 7"]:
    """Return the actions `[L - 1, 7]` between poses `[L, 7]`.

    A pose is position (3), Euler angles about fixed x, y, z (3, rad) and gripper; an action is the
    difference of positions, the Euler angles of `R[t + 1] R[t]^T`, and the difference of grippers.
    """
    rotations = rotation_matrices(poses[:, 3:6])
    turns = euler_angles(rotations[1:] @ rotations[:-1].transpose(0, 2, 1))
    moves = np.diff(poses, axis=0)
    return np.concatenate([moves[:, :3], turns, moves[:, 6:]], axis=1)


def rotation_matrices(angles: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3 3"]:
    """Return `Rz Ry Rx` of Euler angles `[n, 3]` about fixed x, y, z, in radians."""
    (cx, cy, cz), (sx, sy, sz) = np.cos(angles).T, np.sin(angles).T
    rows = [
        [cz * cy, cz * sy * sx - sz * cx, cz * sy * cx + sz * sx],
        [sz * cy, sz * sy * sx + cz * cx, sz * sy * cx - cz * sx],
        [-sy, cy * sx, cy * cx],
    ]
    return np.array(rows).transpose(2, 0, 1)


def euler_angles(rotations: Float[np.ndarray, "n 3 3"]) -> Float[np.ndarray, "n 3"]:
    """Return Euler angles `[n, 3]` about fixed x, y, z of rotation matrices; y within a quarter turn."""
    x = np.arctan2(rotations[:, 2, 1], rotations[:, 2, 2])
    y = np.arcsin(np.clip(-rotations[:, 2, 0], -1, 1))
    z = np.arctan2(rotations[:, 1, 0], rotations[:, 0, 0])
    return np.stack([x, y, z], axis=1)


def quaternion_matrices(quaternions: Float[np.ndarray, "n 4"]) -> Float[np.ndarray, "n 3 3"]:
    """Return rotation matrices of quaternions `[n, 4]` in order w, x, y, z, of any length but 0."""
    w, x, y, z = (quaternions / np.linalg.norm(quaternions, axis=1, keepdims=True)).T
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    return np.array(rows).transpose(2, 0, 1)
