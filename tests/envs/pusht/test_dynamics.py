"""Motion of agent and block: control law, pushes, determinism, a missing pymunk."""

import sys

import numpy as np
import pytest

pytest.importorskip("pymunk", reason="Push-T needs the extra 'pusht' (pymunk)")

from jepawm.envs.pusht.dynamics import PushTPhysics, PushTWorld
from jepawm.envs.pusht.shape import place_block
from jepawm.errors import UserError

FREE = np.array([100.0, 100.0, 400.0, 400.0, 1.0, 0.0, 0.0])
BELOW_THE_BAR = np.array([256.0, 180.0, 256.0, 256.0, 0.0, 0.0, 0.0])


def rolled(state, actions, world=None):
    world = PushTWorld() if world is None else world
    world.reset(state)
    states = [world.state()]
    for action in actions:
        world.step(action)
        states.append(world.state())
    return np.stack(states)


def test_setting_an_undisturbed_state_reads_back_exactly():
    world = PushTWorld()
    world.reset(FREE)
    np.testing.assert_array_equal(world.state(), FREE)


def test_settling_moves_a_moving_agent_on_by_a_hundredth_of_a_second():
    world = PushTWorld()
    world.reset(FREE + np.array([0, 0, 0, 0, 0, 50.0, -20.0]))
    np.testing.assert_allclose(world.state()[[0, 1, 5, 6]], [100.5, 99.8, 50.0, -20.0])


def test_the_agent_follows_the_control_law():
    position, velocity, target = 100.0, 0.0, 150.0
    for _ in range(10):
        velocity += (100 * (target - position) - 20 * velocity) * 0.01
        position += velocity * 0.01
    state = rolled(FREE, [np.array([0.5, 0.0])])[-1]
    np.testing.assert_allclose(state, [position, 100.0, 400, 400, 1.0, velocity, 0.0], rtol=1e-12)


def test_physics_are_options():
    slower = PushTWorld(PushTPhysics(action_scale=50.0))
    np.testing.assert_allclose(
        rolled(FREE, [np.array([1.0, 0.0])], slower), rolled(FREE, [np.array([0.5, 0.0])])
    )


def test_pushing_the_middle_of_the_bar_moves_the_block_straight():
    states = rolled(BELOW_THE_BAR, [np.array([0.0, 0.5])] * 8)
    assert states[-1, 3] > 340
    np.testing.assert_allclose(states[:, 4], 0.0, atol=1e-6)
    np.testing.assert_allclose(states[:, 2], 256.0, atol=1e-6)
    assert states[-1, 1] + 15 == pytest.approx(states[-1, 3], abs=1.0)  # agent touches the bar


def test_pushing_one_end_of_the_bar_turns_the_block():
    start = BELOW_THE_BAR + np.array([50.0, 0, 0, 0, 0, 0, 0])
    assert rolled(start, [np.array([0.0, 0.5])] * 6)[-1, 4] > 0.1


def test_a_border_stops_the_block_which_turns_away():
    states = rolled(BELOW_THE_BAR, [np.array([0.0, 0.5])] * 10)
    assert place_block(states[8, 2:5])[..., 1].max() < 504  # not there yet
    assert abs(states[8, 4]) < 1e-6
    assert place_block(states[:, 2:5])[..., 1].max() < 512
    assert abs(states[10, 4]) > 0.1


def test_same_start_same_path_bit_for_bit_whatever_came_before():
    actions = np.random.default_rng(0).normal(0, 0.4, (40, 2))
    fresh = rolled(BELOW_THE_BAR, actions)
    used = PushTWorld()
    rolled(FREE, actions[::-1], used)
    np.testing.assert_array_equal(rolled(BELOW_THE_BAR, actions, used), fresh)


def test_without_pymunk_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pymunk", None)
    with pytest.raises(UserError, match=r"pip install 'jepawm\[pusht\]'"):
        PushTWorld()
