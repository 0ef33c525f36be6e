"""An arm to try a controller on before it moves a real one: late, lagging, with a camera that fails."""

from dataclasses import dataclass
from math import cos, sin
from time import monotonic, sleep

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw

from jepawm.real_time import Sight

_LINKS = (0.24, 0.2)
"""Lengths of the two links, in parts of the picture's side."""
_POLL_S = 0.02


@dataclass(frozen=True, kw_only=True)
class ArmFaults:
    """What goes wrong with a simulated arm."""

    jitter_s: float = 0.0
    """Standard deviation of the time of a picture."""
    dropped: float = 0.0
    """Part of the pictures that never come."""
    camera_stops_s: float = float("inf")
    """Seconds after which there are no more pictures."""
    seed: int = 0
    """Seed of jitter and drops."""


class SimulatedArm:
    """Two joints that follow their commands with a lag, seen by a camera; in real time.

    A command `[2]` is the angles to go to, in rad; the joints approach them as `exp(-t / lag_s)`.
    """

    def __init__(
        self,
        *,
        fps: float = 30.0,
        lag_s: float = 0.15,
        image_size: int = 64,
        faults: ArmFaults | None = None,
    ) -> None:
        """Take the camera's rate, the lag of the joints, the side of a picture, and what fails."""
        self._period, self._lag, self._size = 1.0 / fps, lag_s, image_size
        self._faults = faults or ArmFaults()
        self._generator = np.random.default_rng(self._faults.seed)
        self._began = self._moved = monotonic()
        self._next = self._began
        self._joints = np.zeros(2)
        self._target = np.zeros(2)
        self.commands: list[tuple[float, tuple[float, ...]]] = []
        """Time in seconds and numbers of every command that came."""

    @property
    def joints(self) -> Float[np.ndarray, " 2"]:
        """Return where the joints are now, in rad."""
        now = monotonic()
        part = np.exp(-(now - self._moved) / self._lag)
        self._joints = self._target + (self._joints - self._target) * part
        self._moved = now
        return self._joints.copy()

    def command(self, command: Float[np.ndarray, " 2"]) -> None:
        """Go to the angles of a command."""
        self._joints = self.joints
        self._target = np.array(command, dtype=np.float64)
        self.commands.append((monotonic() - self._began, tuple(self._target.tolist())))

    def observe(self) -> Sight | None:
        """Wait for the next picture; None where it is dropped, or there are no more."""
        faults = self._faults
        self._next = max(self._next + self._period, monotonic() - self._period)
        late = abs(self._generator.normal(0.0, faults.jitter_s)) if faults.jitter_s else 0.0
        sleep(max(0.0, self._next + late - monotonic()))
        if monotonic() - self._began > faults.camera_stops_s:
            sleep(_POLL_S)
            return None
        if self._generator.random() < faults.dropped:
            return None
        joints = self.joints
        return Sight(picture=draw_arm(joints, size=self._size), joints=joints)


def draw_arm(
    joints: Float[np.ndarray, " 2"], *, size: int = 64
) -> UInt8[np.ndarray, "height width 3"]:
    """Return a picture `[size, size, 3]` of the two links at the angles `joints`, in rad."""
    picture, _ = _drawn(joints, size)
    return np.asarray(picture, dtype=np.uint8).copy()


def draw_wrist(
    joints: Float[np.ndarray, " 2"], *, size: int = 64
) -> UInt8[np.ndarray, "height width 3"]:
    """Return a picture `[size, size, 3]` of half the width, around the end of the second link."""
    picture, (x, y) = _drawn(joints, 2 * size)
    left, top = round(x) - size // 2, round(y) - size // 2
    return np.asarray(picture.crop((left, top, left + size, top + size)), dtype=np.uint8).copy()


def _drawn(joints: np.ndarray, size: int) -> tuple[Image.Image, tuple[float, float]]:
    """Return the picture of the links, and where the second ends in it."""
    picture = Image.new("RGB", (size, size), (24, 24, 28))
    pen, place, angle = ImageDraw.Draw(picture), (size / 2, size / 2), 0.0
    for length, turn, color in zip(_LINKS, joints, ((220, 80, 60), (90, 160, 230)), strict=True):
        angle += float(turn)
        end = (place[0] + size * length * cos(angle), place[1] - size * length * sin(angle))
        pen.line([place, end], fill=color, width=max(2, size // 16))
        place = end
    return picture, place
