"""The Action Score of the paper: planned actions of an arm beside the recorded ones."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

_SCALE, _WORST = 800.0, 0.1
"""A score of 80 for no error at all, 0 from 0.1 m on."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ActionErrors:
    """How far the sums of planned actions are from those of recorded ones, part by part."""

    xyz: Float[np.ndarray, " n"]
    """Position: absolute differences of x, y, z added, in m."""
    orientation: Float[np.ndarray, " n"]
    """Absolute differences of the three Euler angles added, in rad."""
    closure: Float[np.ndarray, " n"]
    """Absolute difference of the gripper's closure."""

    @property
    def total(self) -> Float[np.ndarray, " n"]:
        """Return the sum of all parts `[n]`."""
        return self.xyz + self.orientation + self.closure


def action_errors(
    planned: Float[np.ndarray, "n T 7"], recorded: Float[np.ndarray, "n T 7"]
) -> ActionErrors:
    """Compare the sums over time of actions `[n, T, 7]`: position, Euler angles, gripper."""
    apart = np.abs(planned.sum(axis=1) - recorded.sum(axis=1))  # [n, 7]
    return ActionErrors(
        xyz=apart[:, :3].sum(axis=1), orientation=apart[:, 3:6].sum(axis=1), closure=apart[:, 6]
    )


def action_score(xyz: float) -> float:
    """Return `max(0, 800 (0.1 - xyz))` of the mean position error in m."""
    return max(0.0, _SCALE * (_WORST - xyz))
