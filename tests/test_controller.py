"""A controller under a clock of its own: when plans count, what holds still, what is cut."""

import threading
from collections.abc import Callable

import numpy as np
import pytest

from jepawm import load
from jepawm.commands import Commands, plain_commands
from jepawm.controller import Controller
from jepawm.errors import UserError
from jepawm.planning.cem import CEM
from jepawm.real_time import ControllerConfig, Pace, Sight
from jepawm.testing.arms import ArmFaults, SimulatedArm, draw_arm

BOUNDS = plain_commands(
    low=[-100.0, -1.0], high=[100.0, 1.0], step=[50.0, 2.0], rest=["repeat", "zero"]
)
PICTURE = np.zeros((4, 4, 3), np.uint8)
START = [5.0, 0.0]


class Ramp:
    """Plan to go on from the last command by 1 at each step, four steps far."""

    rate_hz = 10.0

    def __init__(self, commands: Commands | None = BOUNDS) -> None:
        self.commands = commands
        self.asked: list[list[float]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.slope, self.motion = 1.0, 0.5

    def reset(self, goal, joints=None) -> None:
        self.goal = goal

    def plan(self, picture, joints=None, *, command=None):
        self.gate.wait(10)
        if joints is not None:
            raise UserError("the picture is wrong")
        self.asked.append(list(command))
        return np.stack([command[0] + self.slope * np.arange(1, 5), np.full(4, self.motion)], 1)


class Clock:
    """Time that passes only where somebody waits; planners finish their work meanwhile."""

    def __init__(self) -> None:
        self.now = 100.0
        self.settle: Callable[[], object] = lambda: None

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        self.settle()
        self.now += seconds


def controller_of(plans: Ramp, **settings):
    clock = Clock()
    config = ControllerConfig(**{"budget_s": 0.2, "stale_s": 0.5} | settings)
    controller = Controller(plans, config=config, clock=clock, pause=clock.wait)

    def settle() -> None:
        if controller._future is not None and plans.gate.is_set():
            controller._future.exception()

    clock.settle = settle
    controller.reset(PICTURE, command=START)
    return controller, clock


def test_commands_of_a_plan_begin_a_budget_after_its_picture():
    plans = Ramp()
    with controller_of(plans, stale_s=1.0)[0] as controller:
        found = [controller.step(PICTURE).tolist()]
        found += [controller.step().tolist() for _ in range(6)]
    assert plans.asked == [START]  # what is executed at tick 1, before the plan begins
    held = [5.0, 0.0]
    moved = [[6.0, 0.5], [7.0, 0.5], [8.0, 0.5], [9.0, 0.5]]
    assert found == [held, held, *moved, [9.0, 0.0]]  # then it holds: a target stays, a motion ends
    counts = controller.counts
    assert (counts.ticks, counts.plans, counts.held, counts.held_stale) == (7, 1, 3, 0)
    assert (counts.missed, counts.skipped, counts.jumps, counts.late) == (0, 0, 0, 0)


def test_the_next_plan_goes_on_from_what_is_executed_until_then():
    plans = Ramp()
    with controller_of(plans)[0] as controller:
        found = [controller.step(PICTURE)[0] for _ in range(20)]
    assert found[2:] == list(range(6, 24))  # no step is left out or done twice
    assert controller.counts.plans >= 9


def test_pictures_of_several_cameras_reach_the_planner_as_they_were():
    plans, seen = Ramp(), []
    controller, _ = controller_of(plans)
    plan = plans.plan
    plans.plan = lambda picture, *rest, **more: (
        seen.append(picture),
        plan(picture, *rest, **more),
    )[1]
    plans.gate.clear()
    front = PICTURE.copy()
    controller.step({"front": front, "wrist": PICTURE})
    front[:] = 255  # the caller's own again
    plans.gate.set()
    controller.close()
    assert sorted(seen[0]) == ["front", "wrist"]
    np.testing.assert_array_equal(seen[0]["front"], PICTURE)


def test_a_late_plan_is_dropped():
    plans = Ramp()
    controller, clock = controller_of(plans)
    with controller:
        controller.step(PICTURE)
        clock.settle()
        plans.gate.clear()
        for _ in range(5):
            controller.step(PICTURE)
        plans.gate.set()
        assert controller._future is not None
        controller._future.exception()
        before = controller.counts
        last = controller.step()[0]
        assert (before.late, controller.counts.late) == (0, 1)
        assert last == 9.0  # the end of the first plan, held


def test_without_pictures_the_robot_is_held():
    plans = Ramp()
    with controller_of(plans, stale_s=0.25)[0] as controller:
        controller.step(PICTURE)
        found = [controller.step().tolist() for _ in range(5)]
        assert found[1:3] == [[6.0, 0.5], [6.0, 0.0]]  # 0.3 s after the picture
        assert controller.counts.held_stale == 3
        controller.step(PICTURE)
        assert [controller.step(PICTURE)[0] for _ in range(2)] == [6.0, 7.0]


def test_commands_outside_of_the_data_are_cut_or_refused():
    plans = Ramp()
    plans.slope = 60.0
    with controller_of(plans)[0] as controller:
        found = [controller.step(PICTURE)[0] for _ in range(5)]
        assert found == [5.0, 5.0, 55.0, 100.0, 100.0]  # 50 at a time, up to 100
        assert controller.counts.clipped >= 2
        assert controller.counts.slowed >= 1
    with controller_of(plans, outside="refuse")[0] as controller:
        assert [controller.step(PICTURE)[0] for _ in range(5)] == [5.0] * 5
        assert controller.counts.refused >= 1
        assert controller.counts.plans == 0
    with controller_of(plans, limit_steps=False)[0] as controller:
        assert [controller.step(PICTURE)[0] for _ in range(4)] == [5.0, 5.0, 65.0, 100.0]


def test_a_clock_that_jumps_is_noticed_and_what_was_planned_forgotten():
    plans = Ramp()
    controller, clock = controller_of(plans)
    with controller:
        for _ in range(4):
            controller.step(PICTURE)
        clock.now += 3.05  # the machine slept
        held = controller.step(PICTURE).tolist()
        assert held == [7.0, 0.0]
        assert (controller.counts.jumps, controller.counts.skipped) == (1, 29)
        for _ in range(3):
            controller.step(PICTURE)
        moving = controller.step(PICTURE)[1]
        clock.now -= 50.0
        began = clock.now
        assert controller.step(PICTURE)[1] == 0.0
        assert moving == 0.5
        assert controller.counts.jumps == 2
        controller.step(PICTURE)
        assert clock.now == pytest.approx(began + 0.1)  # the rate is as before


def test_a_clock_that_goes_back_in_the_middle_of_a_pause_is_noticed():
    clock = Clock()
    pace = Pace(10.0, jump_s=0.5, clock=clock, pause=clock.wait)
    assert pace.wait() == 0
    clock.settle = lambda: setattr(clock, "now", clock.now - 1000.0)
    assert pace.wait() == 1
    clock.settle = lambda: None
    assert clock.now == pytest.approx(-899.9)  # not a thousand seconds later
    assert pace.wait() == 2
    assert pace.counter["jumps"] == 1


def test_a_missed_tick_is_counted():
    controller, clock = controller_of(Ramp())
    with controller:
        controller.step(PICTURE)
        clock.now += 0.14  # 0.04 s after the next tick
        controller.step(PICTURE)
        controller.step(PICTURE)
    counts = controller.counts
    assert (counts.missed, counts.skipped, counts.jumps) == (1, 0, 0)
    assert counts.worst_s == pytest.approx(0.04)


def test_plans_without_numbers_or_of_another_width_are_refused():
    plans = Ramp()
    plans.slope = float("nan")
    with controller_of(plans)[0] as controller:
        assert [controller.step(PICTURE)[0] for _ in range(5)] == [5.0] * 5
        assert controller.counts.refused >= 1
    plans.plan = lambda picture, joints=None, *, command=None: np.zeros((4, 3))
    with (
        controller_of(plans)[0] as controller,
        pytest.raises(UserError, match="plans have 3 columns, and the bounds of the commands"),
    ):
        [controller.step(PICTURE) for _ in range(2)]


def test_stop_holds_until_reset():
    controller, _ = controller_of(Ramp())
    with controller:
        for _ in range(4):
            controller.step(PICTURE)
        controller.stop()
        assert [controller.step(PICTURE).tolist() for _ in range(3)] == [[7.0, 0.0]] * 3
        controller.reset(PICTURE, command=[1.0, 0.0])
        assert [controller.step(PICTURE)[0] for _ in range(3)] == [1.0, 1.0, 2.0]
        assert controller.counts.ticks == 3


def test_an_error_of_the_planner_is_told_and_then_it_holds():
    controller, _ = controller_of(Ramp())
    with controller:
        for _ in range(3):
            controller.step(PICTURE)
        with pytest.raises(UserError, match="the picture is wrong"):
            controller.step(PICTURE, [1.0])
        assert controller.hold()[1] == 0.0
        assert controller.step()[1] == 0.0


def test_where_the_robot_stands_must_be_known():
    controller, _ = controller_of(Ramp())
    with controller:
        controller.reset(PICTURE)
        with pytest.raises(
            UserError, match=r"columns \[0\] of its commands; give reset\(goal, com"
        ):
            controller.step(PICTURE)
        with pytest.raises(UserError, match="call reset"):
            controller.hold()
        with pytest.raises(UserError, match="the command has 3 numbers; give 2"):
            controller.reset(PICTURE, command=[1.0, 2.0, 3.0])
    with pytest.raises(UserError, match="does not know the bounds of its commands"):
        Controller(Ramp(None))
    plans = Ramp()
    plans.rate_hz = None
    with pytest.raises(UserError, match="at which rate"):
        Controller(plans)
    with pytest.raises(UserError, match="no goal"):
        Controller(Ramp()).step(PICTURE)
    with pytest.raises(UserError, match=r"controller\.rate_hz = 0"):
        ControllerConfig(rate_hz=0.0)


def test_an_arm_is_controlled_and_held_when_its_camera_stops():
    """Real time, a bundled model, pictures that come late or never, and then no more."""
    bounds = plain_commands(
        low=[-1.0, -1.0], high=[1.0, 1.0], step=[0.5, 0.5], rest=["zero", "zero"]
    )
    few = CEM(num_samples=4, num_elites=2, num_iterations=1)
    loop = load("wall").robot(fit="crop", planner=few)
    faults = ArmFaults(jitter_s=0.003, dropped=0.2, camera_stops_s=0.9)
    with Controller(
        loop, commands=bounds, config=ControllerConfig(rate_hz=30.0, budget_s=0.3, stale_s=0.15)
    ) as controller:
        controller.reset(draw_arm(np.array([1.0, -0.5])))
        arm = SimulatedArm(faults=faults)
        counts = controller.run(arm, seconds=1.5)
    assert counts.ticks + counts.skipped >= 30  # whatever the processor has to do besides
    assert len(arm.commands) == counts.ticks + 1
    assert arm.commands[-1][1] == (0.0, 0.0)
    assert counts.held >= 1


def test_what_an_arm_raises_is_told_and_the_last_command_holds():
    class Broken(SimulatedArm):
        def observe(self) -> Sight | None:
            if len(self.commands) > 2:
                raise ConnectionError("the cable is out")
            return super().observe()

    arm = Broken(fps=200.0)
    plans = Ramp()
    with Controller(plans, config=ControllerConfig(rate_hz=100.0)) as controller:
        controller.reset(PICTURE, command=START)
        plans.plan = lambda picture, joints=None, *, command=None: np.full((4, 2), 0.5)
        with pytest.raises(ConnectionError, match="the cable is out"):
            controller.run(arm, seconds=5.0)
    assert arm.commands[-1][1][1] == 0.0


def test_a_simulated_arm_follows_its_commands():
    arm = SimulatedArm(fps=100.0, lag_s=0.01)
    arm.command(np.array([0.5, -0.5]))
    sights = [arm.observe() for _ in range(8)]
    last = sights[-1]
    assert last is not None
    assert np.asarray(last.joints) == pytest.approx([0.5, -0.5], abs=0.05)
    assert last.picture.shape == (64, 64, 3)
    assert not np.array_equal(last.picture, draw_arm(np.zeros(2)))
