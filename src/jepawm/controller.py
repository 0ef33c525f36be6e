"""Act in real time: a command at every tick, the next plan made meanwhile, and stillness where anything fails.

A plan is made from the newest picture in a thread of its own. Its first command belongs to a tick that
lies a fixed budget after the picture, and goes on from what is executed until then; a plan that is not
there by that tick is dropped. Where no command is planned, the robot is held still.
"""

import threading
from collections import Counter, deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from math import ceil
from time import monotonic, sleep
from types import TracebackType

import numpy as np
import torch
from jaxtyping import Float

from jepawm.commands import Commands
from jepawm.control import Command, Joints
from jepawm.errors import UserError
from jepawm.real_time import COUNTED, Arm, ControllerConfig, Counts, Pace, Picture, Plans, Sight

_REMEMBERED = 512
"""Plans whose seconds are remembered."""
_TOLERANCE = 1e-6
"""Part of the range of the data by which rounding may lead out of it."""


AS_RECORDED = ControllerConfig()
"""What a controller has by default: the rate of the recordings, 0.1 s for a plan."""


class Controller:
    """Give a command at every tick while plans towards a goal are made, and hold still otherwise.

    For a loop of one's own call `step` again and again; `run` is such a loop for an `Arm`. It is used
    in one thread; `stop` may be called from any.
    """

    def __init__(
        self,
        plans: Plans,
        *,
        config: ControllerConfig = AS_RECORDED,
        commands: Commands | None = None,
        clock: Callable[[], float] = monotonic,
        pause: Callable[[float], None] = sleep,
    ) -> None:
        """Take what plans, and how time is kept.

        Args:
            plans: makes the plans.
            config: rate, budget and limits.
            commands: what the columns of the commands say, and their bounds; None: as `plans` knows.
            clock: seconds, from any origin.
            pause: waits for some seconds.
        """
        known = commands or plans.commands
        if known is None:
            raise UserError(
                "this checkpoint does not know the bounds of its commands, and none are executed without; "
                "train it with this version, or give commands=jepawm.commands.plain_commands(...)"
            )
        rate_hz = config.rate_hz or plans.rate_hz
        if rate_hz is None:
            raise UserError(
                "nobody knows at which rate these commands follow one another; give "
                "config=jepawm.ControllerConfig(rate_hz=...), the rate of the recordings"
            )
        self.config = replace(config, rate_hz=rate_hz)
        self.commands: Commands = known
        self._plans, self._clock, self._pause = plans, clock, pause
        self._low, self._high = np.array(known.low), np.array(known.high)
        self._step = np.array(known.step)
        self._rate_hz = rate_hz
        self._lead = max(1, ceil(config.budget_s * rate_hz - 1e-9))
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="jepawm-planner")
        self._future: Future[_Planned] | None = None
        self._stopped = threading.Event()
        self._ready = False
        self._forget()

    def reset(
        self, goal: Picture, joints: Joints | None = None, *, command: Command | None = None
    ) -> None:
        """Take a goal; what was planned and counted before is forgotten.

        Args:
            goal: picture of the goal, by the same camera.
            joints: the robot's state at the goal, where the model knows proprioception.
            command: the command that the robot follows now; needed where its state does not show it.
        """
        self._settle()
        self._plans.reset(goal, joints)
        self._forget()
        if command is not None:
            self._last = self._checked(command)
        self._stopped.clear()
        self._ready = True

    def step(
        self, picture: Picture | None = None, joints: Joints | None = None
    ) -> Float[np.ndarray, " a"]:
        """Wait for the next tick and return its command `[a]`.

        Args:
            picture: what the camera sees now; None where there is no new one.
            joints: the robot's state now.
        """
        if not self._ready:
            raise UserError("there is no goal; call reset(goal) before step(picture)")
        if self._last is None:
            self._last = self._standing(joints)
        self._harvest(self._pace.upcoming)
        if picture is not None:
            self._seen = self._clock()
            if self._future is None and not self._stopped.is_set():
                self._ask(self._pace.upcoming, picture, joints)
        jumps = self._jumps
        tick = self._pace.wait()
        if self._jumps != jumps:
            self._chunks.clear()
            self._seen = min(self._seen, self._clock())
        self._harvest(tick)
        self._last = self._command_at(tick)
        return self._last.copy()

    def hold(self) -> Float[np.ndarray, " a"]:
        """Return the command `[a]` that holds the robot still now."""
        if self._last is None:
            raise UserError("nothing says where the robot stands; call reset(goal, command=...)")
        return self._still(self._last)

    def stop(self) -> None:
        """Hold still from the next tick on, until `reset`."""
        self._stopped.set()

    @property
    def counts(self) -> Counts:
        """Return what was done since the last reset."""
        counter = self._counter + self._pace.counter
        return Counts(
            worst_s=self._pace.worst_s,
            plan_p95_s=float(np.quantile(self._seconds, 0.95)) if self._seconds else 0.0,
            **{name: counter[name] for name in COUNTED},
        )

    @property
    def _jumps(self) -> int:
        return self._pace.counter["jumps"]

    def run(self, arm: Arm, *, seconds: float) -> Counts:
        """Control an arm for some seconds, or until `stop`; at the end, however it comes, it is held still.

        Pictures are awaited in a thread of their own, so a camera that stops stops nothing else.
        """
        camera = _Camera(arm)
        ends = self._clock() + seconds
        try:
            first = camera.first(self.config.stale_s)
            while self._clock() < ends and not self._stopped.is_set():
                seen, first = first or camera.newest(), None
                arm.command(self.step() if seen is None else self.step(seen.picture, seen.joints))
        finally:
            camera.close()
            if self._last is not None:
                arm.command(self.hold())
        return self.counts

    def close(self) -> None:
        """End the planner's thread; a plan in the making is waited for."""
        self._stopped.set()
        self._worker.shutdown(wait=True, cancel_futures=True)

    def __enter__(self) -> "Controller":
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the planner's thread."""
        self.close()

    def _forget(self) -> None:
        self._counter: Counter[str] = Counter()
        self._seconds: deque[float] = deque(maxlen=_REMEMBERED)
        self._chunks: deque[_Planned] = deque()
        self._last: np.ndarray | None = None
        self._seen = -float("inf")
        self._pace = Pace(
            self._rate_hz, jump_s=self.config.stale_s, clock=self._clock, pause=self._pause
        )

    def _settle(self) -> None:
        """Wait for a plan in the making; it belongs to the goal before."""
        if self._future is not None:
            self._future.exception()
            self._future = None

    def _harvest(self, tick: int) -> None:
        """Take a plan that is ready; an error of the planner is raised here."""
        if self._future is None or not self._future.done():
            return
        future, self._future = self._future, None
        try:
            plan = future.result()
        except UserError:
            self._chunks.clear()
            raise
        self._seconds.append(plan.seconds)
        if plan.commands.shape[1:] != self._low.shape:
            raise UserError(
                f"plans have {plan.commands.shape[1]} columns, and the bounds of the commands "
                f"{len(self._low)}; give those of this robot"
            )
        slack = _TOLERANCE * (self._high - self._low)
        inside = (plan.commands >= self._low - slack) & (plan.commands <= self._high + slack)
        if plan.first < tick or plan.jumps != self._jumps:
            self._counter["late"] += 1
        elif not np.isfinite(plan.commands).all() or (
            self.config.outside == "refuse" and not inside.all()
        ):
            self._counter["refused"] += 1
        else:
            self._counter["plans"] += 1
            self._chunks.append(plan)

    def _ask(self, tick: int, picture: Picture, joints: Joints | None) -> None:
        """Start a plan from this moment for the tick a budget later."""
        assert self._last is not None
        first = tick + self._lead
        before = self._last
        for later in range(tick, first):
            planned = self._planned_at(later)
            before = self._still(before) if planned is None else planned.clip(self._low, self._high)
        picture, jumps, clock = _copied(picture), self._jumps, self._clock

        def make() -> _Planned:
            began = clock()
            commands = self._plans.plan(picture, joints, command=before)
            return _Planned(first=first, commands=commands, seconds=clock() - began, jumps=jumps)

        self._future = self._worker.submit(make)

    def _planned_at(self, tick: int) -> np.ndarray | None:
        """Return what the newest plan says for a tick; None if none does."""
        for chunk in reversed(self._chunks):
            if chunk.first <= tick:
                inside = tick - chunk.first < len(chunk.commands)
                return chunk.commands[tick - chunk.first] if inside else None
        return None

    def _command_at(self, tick: int) -> np.ndarray:
        assert self._last is not None
        while len(self._chunks) > 1 and self._chunks[1].first <= tick:
            self._chunks.popleft()
        stale = self._clock() - self._seen > self.config.stale_s
        if stale:
            self._chunks.clear()
        planned = None if self._stopped.is_set() else self._planned_at(tick)
        if planned is None:
            self._counter["held"] += 1
            self._counter["held_stale"] += stale
            return self._still(self._last)
        return self._limited(planned, self._last)

    def _limited(self, planned: np.ndarray, last: np.ndarray) -> np.ndarray:
        """Return a command within the bounds of the data, and near enough to the last one."""
        slack = _TOLERANCE * (self._high - self._low)
        command = planned.clip(self._low, self._high)
        self._counter["clipped"] += bool((np.abs(command - planned) > slack).any())
        if not self.config.limit_steps:
            return command
        near = command.clip(last - self._step, last + self._step)
        self._counter["slowed"] += bool((np.abs(near - command) > slack).any())
        return near

    def _still(self, last: np.ndarray) -> np.ndarray:
        return self.commands.hold(torch.from_numpy(last)).numpy()

    def _standing(self, joints: Joints | None) -> np.ndarray:
        """Return the command that the robot follows before the first one, as its state shows it."""
        shown, lost = np.zeros(len(self._low)), []
        state = None if joints is None else np.asarray(joints, dtype=np.float64).reshape(-1)
        columns = zip(self.commands.follows, self.commands.rest, strict=True)
        for column, (follows, rest) in enumerate(columns):
            if state is not None and 0 <= follows < len(state):
                shown[column] = state[follows]
            elif rest == "repeat":
                lost.append(column)
        if lost:
            raise UserError(
                f"nothing shows where the robot stands in columns {lost} of its commands; give "
                "reset(goal, command=...) the command that it follows now"
            )
        return self._checked(shown)

    def _checked(self, command: Command) -> np.ndarray:
        values = np.array(command, dtype=np.float64).reshape(-1)
        if len(values) != len(self._low) or not np.isfinite(values).all():
            raise UserError(
                f"the command has {len(values)} numbers; give {len(self._low)} finite ones, in the units "
                "of the recordings"
            )
        return values


@dataclass(frozen=True, kw_only=True, eq=False)
class _Planned:
    first: int
    commands: np.ndarray
    seconds: float
    jumps: int


def _copied(picture: Picture) -> Picture:
    """Return a picture, or those of several cameras, that the caller does not change any more."""
    if isinstance(picture, Mapping):
        return {name: np.array(one) for name, one in picture.items()}
    return np.array(picture)


class _Camera:
    """Await an arm's pictures in a thread of its own; the newest one counts."""

    def __init__(self, arm: Arm) -> None:
        self._arm = arm
        self._closed = threading.Event()
        self._there = threading.Event()
        self._newest: Sight | None = None
        self._error: BaseException | None = None
        threading.Thread(target=self._watch, name="jepawm-camera", daemon=True).start()

    def first(self, seconds: float) -> Sight | None:
        """Wait for the first picture, at most so long."""
        self._there.wait(seconds)
        return self.newest()

    def newest(self) -> Sight | None:
        """Return the newest picture if it is a new one; raises what the arm raised."""
        if self._error is not None:
            raise self._error
        seen, self._newest = self._newest, None
        return seen

    def close(self) -> None:
        """Ask the thread to end; one that waits for a dead camera is left waiting."""
        self._closed.set()

    def __enter__(self) -> None:
        """Note what is raised in this block: it is told in the thread that controls."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        """Keep the error."""
        self._error = error
        self._there.set()
        return True

    def _watch(self) -> None:
        with self:
            while not self._closed.is_set():
                seen = self._arm.observe()
                if seen is not None:
                    self._newest = seen
                    self._there.set()
