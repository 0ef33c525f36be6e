"""Pictures of PointMaze: where ball and walls are seen, settings, a missing backend."""

import sys

import numpy as np
import pytest
import torch

pytest.importorskip("mujoco", reason="PointMaze needs the extra 'mujoco'")

from jepawm.envs.pointmaze.render import PointMazeView, render_pointmaze
from jepawm.errors import UserError


def ball(frame):
    """Return the middle of the green pixels as (column, row) fractions of the frame."""
    red, green, blue = frame.numpy().astype(int)
    rows, columns = np.nonzero((green > red + 20) & (green > blue + 20))
    return (columns.mean() + 0.5) / frame.shape[-1], (rows.mean() + 0.5) / frame.shape[-2]


@pytest.mark.usefixtures("opengl")
@pytest.mark.parametrize("image_size", [64, 224])
def test_the_ball_is_where_the_state_says(image_size):
    places = np.array([[0.8, 0.8], [0.8, 2.8], [2.8, 2.8], [2.8, 0.8]])
    frames = render_pointmaze(np.concatenate([places, np.zeros((4, 2))], axis=1), image_size)
    assert frames.shape == (4, 3, image_size, image_size)
    assert frames.dtype == torch.uint8
    visible = 2 * 6.4 * np.tan(np.pi / 8)  # side of the seen square on the ball's height, metres
    for place, frame in zip(places, frames, strict=True):
        x, y = (place + 1.2 - 3.0) / visible  # from the middle of the maze
        np.testing.assert_allclose(ball(frame), (0.5 + x, 0.5 - y), atol=0.015)


@pytest.mark.usefixtures("opengl")
def test_walls_are_sand_and_the_floor_is_blue():
    frame = render_pointmaze(np.array([0.8, 0.8, 0.0, 0.0]), 64).numpy().astype(int)
    for row, column in ((3, 32), (32, 3), (60, 32), (40, 32)):  # outer walls, inner wall
        red, green, blue = frame[:, row, column]
        assert red > green > blue
    for row, column in ((20, 20), (20, 32), (40, 44)):  # along the U
        red, green, blue = frame[:, row, column]
        assert blue > green > red


@pytest.mark.usefixtures("opengl")
def test_velocity_is_not_seen_and_drawing_is_deterministic():
    states = np.array([[0.8, 1.0, 0.0, 0.0], [2.8, 1.0, 0.0, 0.0], [0.8, 1.0, 3.0, -1.0]])
    frames = render_pointmaze(states, 64)
    assert torch.equal(frames[0], frames[2])
    assert not torch.equal(frames[0], frames[1])
    assert torch.equal(render_pointmaze(states[1], 64), frames[1])
    assert render_pointmaze(states[None, :0], 64).shape == (1, 0, 3, 64, 64)


@pytest.mark.usefixtures("opengl")
@pytest.mark.parametrize("change", [{"distance": 7.0}, {"num_samples": 0}])
def test_settings_change_the_pictures(change):
    state = np.array([0.8, 1.0, 0.0, 0.0])
    other = render_pointmaze(state, 64, view=PointMazeView(**change))
    assert not torch.equal(other, render_pointmaze(state, 64))


def test_an_unknown_backend_is_named(monkeypatch):
    monkeypatch.setenv("MUJOCO_GL", "disable")
    with pytest.raises(UserError, match="MUJOCO_GL=disable cannot draw"):
        render_pointmaze(np.zeros((1, 4)), 33)


def test_a_missing_backend_is_named_with_what_to_install(monkeypatch):
    monkeypatch.setenv("MUJOCO_GL", "osmesa")
    monkeypatch.setitem(sys.modules, "mujoco.osmesa", None)
    with pytest.raises(
        UserError, match=r"backend osmesa does not work.*apt-get install.*libosmesa6"
    ):
        render_pointmaze(np.zeros((1, 4)), 34)
