"""A simulated arm for `lerobot-record` and asynchronous inference, and somebody who moves it at random."""

from dataclasses import dataclass
from math import pi, sin
from time import monotonic
from typing import Any

import numpy as np
from lerobot.robots import Robot, RobotConfig
from lerobot.teleoperators import Teleoperator, TeleoperatorConfig

from jepawm.errors import UserError
from jepawm.testing.arms import SimulatedArm, draw_arm, draw_wrist

JOINTS = ("joint_1.pos", "joint_2.pos")
"""Angles in rad, of the state and of the commands."""
_WRIST = "wrist"
_WIDEST = 1.2
"""Largest angle of a random motion, rad."""


@RobotConfig.register_subclass("jepawm_arm")
@dataclass(kw_only=True)
class JepawmArmConfig(RobotConfig):
    """Two joints that follow their commands with a lag, seen by a camera."""

    image_size: int = 64
    """Side of a picture, pixels."""
    lag_s: float = 0.15
    """Lag of the joints, seconds."""
    camera: str = "front"
    """Name of the camera."""
    wrist: bool = False
    """Another camera, wrist, that sees the end of the arm."""


class JepawmArm(Robot):
    """`jepawm.testing.arms.SimulatedArm` as a robot of LeRobot."""

    config_class = JepawmArmConfig
    name = "jepawm_arm"

    def __init__(self, config: JepawmArmConfig) -> None:
        """Take the configuration; the arm is there once it is connected."""
        super().__init__(config)
        self.config = config
        names = [config.camera, *([_WRIST] if config.wrist else [])]
        self.cameras = dict.fromkeys(names)  # LeRobot counts them
        self._arm: SimulatedArm | None = None

    @property
    def observation_features(self) -> dict[str, Any]:
        """Return the joints and the shape of a picture."""
        size = self.config.image_size
        return {**dict.fromkeys(JOINTS, float), **dict.fromkeys(self.cameras, (size, size, 3))}

    @property
    def action_features(self) -> dict[str, Any]:
        """Return the joints."""
        return dict.fromkeys(JOINTS, float)

    @property
    def is_connected(self) -> bool:
        """Return whether the arm is there."""
        return self._arm is not None

    @property
    def is_calibrated(self) -> bool:
        """Return that there is nothing to calibrate."""
        return True

    def connect(self, calibrate: bool = True) -> None:  # noqa: ARG002 (LeRobot's own)
        """Put the arm in its place, both angles 0."""
        self._arm = SimulatedArm(lag_s=self.config.lag_s, image_size=self.config.image_size)

    def calibrate(self) -> None:
        """Do nothing."""

    def configure(self) -> None:
        """Do nothing."""

    def get_observation(self) -> dict[str, Any]:
        """Return the joints and a picture of now."""
        joints, size = self._there().joints, self.config.image_size
        seen = {self.config.camera: draw_arm(joints, size=size)}
        if self.config.wrist:
            seen[_WRIST] = draw_wrist(joints, size=size)
        return {**_named(joints), **seen}

    def send_action(self, action: dict[str, Any]) -> dict[str, Any]:
        """Go to the angles of a command."""
        command = np.array([float(action[name]) for name in JOINTS])
        self._there().command(command)
        return _named(command)

    def disconnect(self) -> None:
        """Take the arm away."""
        self._arm = None

    def _there(self) -> SimulatedArm:
        if self._arm is None:
            raise UserError("the arm is not connected; call connect() first")
        return self._arm


@TeleoperatorConfig.register_subclass("jepawm_mover")
@dataclass(kw_only=True)
class JepawmMoverConfig(TeleoperatorConfig):
    """Moves the simulated arm smoothly, another way for each seed."""

    seed: int = 0
    """Seed of the motion."""


class JepawmMover(Teleoperator):
    """Stands for a person who records demonstrations."""

    config_class = JepawmMoverConfig
    name = "jepawm_mover"

    def __init__(self, config: JepawmMoverConfig) -> None:
        """Draw the motion: three waves for each joint."""
        super().__init__(config)
        self.config = config
        generator = np.random.default_rng(config.seed)
        self._hertz = generator.uniform(0.1, 0.6, (2, 3))
        self._phase = generator.uniform(0.0, 2 * pi, (2, 3))
        self._began: float | None = None

    @property
    def action_features(self) -> dict[str, Any]:
        """Return the joints."""
        return dict.fromkeys(JOINTS, float)

    @property
    def feedback_features(self) -> dict[str, Any]:
        """Return that nothing is felt."""
        return {}

    @property
    def is_connected(self) -> bool:
        """Return whether the motion has begun."""
        return self._began is not None

    @property
    def is_calibrated(self) -> bool:
        """Return that there is nothing to calibrate."""
        return True

    def connect(self, calibrate: bool = True) -> None:  # noqa: ARG002 (LeRobot's own)
        """Begin."""
        self._began = monotonic()

    def calibrate(self) -> None:
        """Do nothing."""

    def configure(self) -> None:
        """Do nothing."""

    def get_action(self) -> dict[str, Any]:
        """Return the angles of now."""
        seconds = 0.0 if self._began is None else monotonic() - self._began
        waves = [
            [sin(2 * pi * hertz * seconds + phase) for hertz, phase in zip(*joint, strict=True)]
            for joint in zip(self._hertz, self._phase, strict=True)
        ]
        return _named(_WIDEST * np.mean(waves, axis=1))

    def send_feedback(self, feedback: dict[str, Any]) -> None:
        """Do nothing."""

    def disconnect(self) -> None:
        """End."""
        self._began = None


def _named(joints: np.ndarray) -> dict[str, float]:
    return dict(zip(JOINTS, map(float, joints), strict=True))
