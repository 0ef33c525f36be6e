"""A robot's loop: pictures of its own camera in, single actions out.

What the import did to the pictures is done to these too: cropped or stretched to a square, and
resized. The agent itself takes observations that are ready.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, UInt8

from jepawm.agent import PlanningAgent
from jepawm.data.resample import Fit, require_frame, square_frame
from jepawm.errors import UserError
from jepawm.types import Observation

Joints = Sequence[float] | Float[np.ndarray, " P"]
"""The robot's own state, in the order and the units of the recordings."""


class RobotLoop:
    """Plan for one robot: `reset(goal)`, then `act(picture, joints)` again and again."""

    def __init__(self, agent: PlanningAgent, *, image_size: int, fit: Fit | None) -> None:
        """Take the agent, the side of its pictures in pixels, and how they become square.

        Without a `fit` only pictures of the model's own size are taken.
        """
        self._agent = agent
        self._size = image_size
        self._fit: Fit | None = fit

    def reset(
        self,
        goal: UInt8[np.ndarray, "height width 3"],
        joints: Joints | None = None,
        *,
        num_steps: int | None = None,
    ) -> None:
        """Start an episode.

        Args:
            goal: picture of the goal, by the same camera.
            joints: the robot's state at the goal, where the model knows proprioception.
            num_steps: blocks of actions until the goal is to be reached; None: the protocol's.
        """
        self._agent.reset(goal=self._observation(goal, joints, what="goal"), num_steps=num_steps)

    def act(
        self, picture: UInt8[np.ndarray, "height width 3"], joints: Joints | None = None
    ) -> Float[np.ndarray, "frameskip a"]:
        """Return the next actions `[frameskip, a]`, in the units of the recordings.

        Execute them one after the other at the rate of the recordings, then look and call again.

        Args:
            picture: what the camera sees now, uint8 `[height, width, 3]`, red first.
            joints: the robot's state now, where the model knows proprioception.
        """
        block = self._agent.act(self._observation(picture, joints, what="picture"))
        actions = block[0].double().cpu().numpy()
        return actions.reshape(self._agent.protocol.frameskip, -1)

    def _observation(self, picture: object, joints: Joints | None, *, what: str) -> Observation:
        if not isinstance(picture, np.ndarray) or picture.dtype != np.uint8 or picture.ndim != 3:
            given = (
                f"{picture.dtype} {picture.shape}"
                if isinstance(picture, np.ndarray)
                else type(picture).__name__
            )
            raise UserError(
                f"the {what} is {given}; give what the camera saw as a NumPy array, uint8 "
                "[height, width, 3], levels 0 to 255 (fractions of 1: (255 * x).round())"
            )
        if picture.shape[2] != 3:
            raise UserError(
                f"the {what} is {picture.shape}; give [height, width, 3]: channels last, without a "
                "fourth"
            )
        require_frame(picture)
        if self._fit is None and picture.shape[:2] != (self._size, self._size):
            raise UserError(
                f"the {what} is {picture.shape[1]} x {picture.shape[0]}, and the checkpoint does not "
                f"say how its data became {self._size} x {self._size}; give fit='crop' or "
                "fit='stretch', as the import did"
            )
        fit: Fit = self._fit or "crop"
        pixels = square_frame(picture, self._size, fit=fit)
        proprio = None
        if joints is not None:
            proprio = torch.tensor(np.asarray(joints, dtype=np.float64).reshape(1, -1))
        return Observation(pixels=torch.from_numpy(pixels.copy())[None], proprio=proprio)
