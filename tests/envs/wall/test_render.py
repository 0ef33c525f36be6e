"""Pictures of Wall: known pixels, resizing equal to torch's, golden frames."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from jepawm.envs.wall.dynamics import WallGeometry, WallLayout
from jepawm.envs.wall.render import render_wall

PAPER = WallLayout.fixed()


def test_known_pixels_of_the_native_frame():
    frame = render_wall(np.array([20.0, 40.0]), 65, layout=PAPER)
    assert frame.shape == (3, 65, 65)
    assert frame[:, 40, 20].tolist() == [255, 0, 0]  # centre of the dot is red
    assert frame[:, 40, 21].tolist() == [255, 255 - int(255 * np.exp(-1 / (2 * 1.7**2)))] * 1 + [
        255 - int(255 * np.exp(-1 / (2 * 1.7**2)))
    ]
    assert frame[:, 10, 10].tolist() == [255, 255, 255]  # floor
    assert frame[:, 2, 2].tolist() == [255, 255, 255]  # outside the border lines
    assert frame[:, 10, 29:36].max() == 0  # wall, both faces included
    assert frame[:, 10, 28].tolist() == frame[:, 10, 36].tolist() == [255, 255, 255]
    assert frame[:, 26:35, 32].min() == 255  # door
    assert frame[:, 25, 32].max() == frame[:, 35, 32].max() == 0
    for line in (4, 60):
        assert frame[:, line].max() == frame[:, :, line].max() == 0


def test_dot_between_pixels_still_reaches_full_red():
    frame = render_wall(np.array([20.4, 40.5]), 65, layout=PAPER)
    assert int(frame[1].float()[30:50, 12:28].min()) == 0


def test_walls_cover_the_dot():
    frame = render_wall(np.array([28.0, 50.0]), 65, layout=PAPER)
    assert frame[:, 50, 29:36].max() == 0


@pytest.mark.parametrize("image_size", [64, 65, 96, 224])
def test_resize_equals_torch_on_the_native_frame(image_size):
    positions = np.random.default_rng(0).uniform(5, 59, (20, 2))
    native = render_wall(positions, 65, layout=PAPER).float()
    size = (image_size, image_size)
    expected = functional.interpolate(native, size=size, mode="bilinear", antialias=True).round()
    frames = render_wall(positions, image_size, layout=PAPER)
    assert frames.dtype == torch.uint8
    assert (frames.float() - expected).abs().max() <= 1
    assert (frames.float() != expected).float().mean() < 1e-3


def test_batched_equals_one_by_one_with_different_layouts():
    generator = np.random.default_rng(0)
    positions = generator.uniform(5, 59, (30, 10, 2))
    layout = WallLayout(
        wall_x=generator.integers(20, 40, (30, 1)).astype(float),
        door_y=generator.integers(15, 45, (30, 1)).astype(float),
    )
    frames = render_wall(positions, 64, layout=layout)
    assert frames.shape == (30, 10, 3, 64, 64)
    for row in range(0, 30, 7):
        one = WallLayout.fixed(float(layout.wall_x[row, 0]), float(layout.door_y[row, 0]))
        single = render_wall(positions[row, 3], 64, layout=one)
        assert (frames[row, 3].int() - single.int()).abs().max() <= 1


def test_no_frames_and_another_world_size():
    assert render_wall(np.zeros((0, 2)), 64, layout=PAPER).shape == (0, 3, 64, 64)
    small = WallGeometry(world_size=33, border=3)
    frame = render_wall(np.array([10.0, 20.0]), 33, layout=PAPER, geometry=small)
    assert frame.shape == (3, 33, 33)
    assert frame[:, :, 2].max() == frame[:, :, 30].max() == 0


@pytest.mark.parametrize("image_size", [65, 224])
def test_golden_frames(golden_dir, image_size):
    with np.load(golden_dir / "wall_frames.npz") as case:
        layout = WallLayout(
            wall_x=case["layout"][:, 0].astype(float), door_y=case["layout"][:, 1].astype(float)
        )
        frames = render_wall(case["position"], image_size, layout=layout).permute(0, 2, 3, 1)
        difference = np.abs(frames.numpy().astype(int) - case[f"frame_{image_size}"].astype(int))
    assert difference.max() <= 1
