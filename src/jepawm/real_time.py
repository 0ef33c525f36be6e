"""What real-time control is made of: who plans, who moves, at which rate, within which limits."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from jepawm.commands import Commands
from jepawm.control import Command, Joints, Pictures
from jepawm.errors import UserError, require_range

Picture = Pictures
"""What a camera sees, red first; of several cameras a picture by name."""
_ON_TIME = 0.25
"""Part of a period after its tick within which a command counts as in time."""


@runtime_checkable
class Plans(Protocol):
    """What makes whole plans of commands: a `RobotLoop`, or your own."""

    @property
    def commands(self) -> Commands | None:
        """Return what the columns of the commands say."""
        ...

    @property
    def rate_hz(self) -> float | None:
        """Return the commands a second of the recordings; None where nobody knows."""
        ...

    def reset(self, goal: Picture, joints: Joints | None = None) -> None:
        """Take the goal."""
        ...

    def plan(
        self, picture: Picture, joints: Joints | None = None, *, command: Command | None = None
    ) -> Float[np.ndarray, "T a"]:
        """Return commands `[T, a]` that follow `command`, as seen now."""
        ...


@runtime_checkable
class Arm(Protocol):
    """A robot with a camera, as `Controller.run` uses it."""

    def observe(self) -> "Sight | None":
        """Wait for the next picture and return it; None where there is none now. It may block."""
        ...

    def command(self, command: Float[np.ndarray, " a"]) -> None:
        """Send a command; it must not block."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class Sight:
    """What a robot sees and feels at one moment."""

    picture: Picture
    """What the camera sees, red first."""
    joints: Joints | None = None
    """The robot's own state; None where the model needs none."""


@dataclass(frozen=True, kw_only=True)
class ControllerConfig:
    """How a controller keeps time, and within which limits."""

    rate_hz: float | None = None
    """Commands a second; None: as in the recordings, which the checkpoint knows."""
    budget_s: float = 0.1
    """Seconds from a picture to the first command of its plan; a plan that takes longer is dropped."""
    stale_s: float = 0.5
    """Seconds without a new picture after which the robot is held still."""
    outside: Literal["clip", "refuse"] = "clip"
    """Commands outside the bounds of the data: moved to the bound and counted, or the plan is refused."""
    limit_steps: bool = True
    """Keep the change from one command to the next within the largest one of the data."""

    def __post_init__(self) -> None:
        """Refuse what is out of range."""
        require_range(self, ("rate_hz",), where="controller", least=0.1, most=1000)
        require_range(self, ("budget_s", "stale_s"), where="controller", least=0, most=60)
        if self.outside not in ("clip", "refuse"):
            raise UserError(f"controller.outside = {self.outside!r}; choose clip or refuse")


@dataclass(frozen=True, kw_only=True)
class Counts:
    """What a controller did since its last reset."""

    ticks: int
    """Commands that were given."""
    missed: int
    """Of them, those given more than a quarter of a period after their tick."""
    skipped: int
    """Ticks at which no command was asked for: the caller, or the clock, was late by whole periods."""
    worst_s: float
    """Longest delay of a command after its tick, in seconds."""
    jumps: int
    """How often the clock went back, or forward by more than `stale_s`."""
    held: int
    """Commands that held the robot still."""
    held_stale: int
    """Of them, those for want of a new picture."""
    plans: int
    """Plans that were in time."""
    late: int
    """Plans that were too late and were dropped."""
    refused: int
    """Plans that were refused: commands outside of the data, or no numbers."""
    clipped: int
    """Commands of which a number was moved to the bounds of the data."""
    slowed: int
    """Commands whose change was cut to the largest of the data."""
    plan_p95_s: float
    """Seconds of a plan that 95 % of the last 512 stay within; 0 before the first."""


COUNTED = tuple(one.name for one in fields(Counts) if one.type is int)
"""Names of the counts that are whole numbers."""


class Pace:
    """Wait for one tick after the other, at a fixed rate, and count where that fails."""

    def __init__(
        self,
        rate_hz: float,
        *,
        jump_s: float,
        clock: Callable[[], float],
        pause: Callable[[float], None],
    ) -> None:
        """Take the rate, the delay that counts as a jump, a clock in seconds, and what waits."""
        self._jump_s = jump_s
        self._period = 1.0 / rate_hz
        self._clock, self._pause = clock, pause
        self.counter: Counter[str] = Counter()
        """How many ticks there were, were missed or skipped, and how often the clock jumped."""
        self.worst_s = 0.0
        """Longest delay after a tick."""
        self.upcoming = 0
        """Number of the next tick."""
        self._due: float | None = None

    def wait(self) -> int:
        """Wait for the next tick; returns its number. Ticks that are over are left out."""
        now = self._clock()
        due = now if self._due is None else self._due
        while now < due:
            if due - now > 1.5 * self._period:  # the clock went back
                self.counter["jumps"] += 1
                due = now
                break
            self._pause(due - now)
            now = self._clock()
        late = now - due
        over = int(late / self._period)
        self.worst_s = max(self.worst_s, late)
        self.counter["ticks"] += 1
        self.counter["missed"] += late > _ON_TIME * self._period
        self.counter["skipped"] += over
        self.counter["jumps"] += late > self._jump_s
        tick = self.upcoming + over
        self.upcoming, self._due = tick + 1, due + (over + 1) * self._period
        return tick
