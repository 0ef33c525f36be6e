"""Pictures of Push-T: known pixels, resizing equal to torch's, golden frames."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from jepawm.envs.pusht.render import (
    CANVAS,
    disc_mask,
    disc_spans,
    fill_spans,
    line_spans,
    polygon_spans,
    render_pusht,
)

STATE = np.array([400.0, 100.0, 120.0, 300.0, 0.0])


def canvas(state, **options):
    """Draw at the canvas's own size, where nothing is resized: [3, y, x]."""
    return render_pusht(state, CANVAS, **options).numpy()


def test_known_pixels_of_the_canvas():
    frame = canvas(STATE)
    colors = {
        (400, 100): (78, 126, 255),  # agent
        (400, 87): (65, 105, 225),  # its rim
        (120, 315): (142, 163, 183),  # bar
        (120, 400): (142, 163, 183),  # stem
        (61, 315): (119, 136, 153),  # left edge of the bar
        (256, 265): (144, 238, 144),  # target
        (300, 50): (255, 255, 255),  # floor
        (5, 200): (211, 211, 211),  # border
        (200, 507): (211, 211, 211),
    }
    assert {place: tuple(frame[:, place[1], place[0]]) for place in colors} == colors


def test_block_is_as_large_as_it_should_be():
    frame = canvas(STATE, with_target=False)
    block = ((frame[2] == 183) | (frame[2] == 153)).astype(int)
    assert block[315].sum() == 120 + 2 * 2 + 1  # the outline is 2 pixels thick on each side
    assert block[400].sum() == 30 + 2 * 2 + 1
    assert block[:, 120].sum() == 120 + 2 * 2 + 1


def test_the_target_can_be_left_out():
    differs = (canvas(STATE) != canvas(STATE, with_target=False)).any(0)
    assert abs(differs.sum() / 6300 - 1) < 0.05  # the area of a T
    assert (canvas(STATE, with_target=False)[:, 265, 256] == 255).all()


def test_the_agent_is_drawn_over_the_block_and_the_border_over_all():
    frame = canvas(np.array([120.0, 315.0, 120.0, 300.0, 0.0]))
    assert tuple(frame[:, 315, 120]) == (78, 126, 255)
    frame = canvas(np.array([5.0, 315.0, 120.0, 300.0, 0.0]))
    assert tuple(frame[:, 315, 5]) == (211, 211, 211)
    assert tuple(frame[:, 315, 12]) == (78, 126, 255)


@pytest.mark.parametrize("antialias", [False, True])
@pytest.mark.parametrize("image_size", [64, 96, 224])
def test_resize_equals_torch_on_the_whole_canvas(image_size, antialias):
    states = np.random.default_rng(0).uniform(0, 512, (6, 5))
    native = render_pusht(states, CANVAS).float()
    size = (image_size, image_size)
    expected = functional.interpolate(
        native, size=size, mode="bilinear", align_corners=False, antialias=antialias
    )
    frames = render_pusht(states, image_size, antialias=antialias)
    assert frames.dtype == torch.uint8
    assert frames.shape == (6, 3, image_size, image_size)
    assert (frames.float() - expected).abs().max() < 0.51  # rounding


def test_batched_equals_one_by_one_also_outside_the_picture():
    states = np.random.default_rng(0).uniform(-150, 650, (2, 40, 5))
    together = render_pusht(states, 64)
    for row, column in ((0, 0), (1, 7), (1, 39)):
        np.testing.assert_array_equal(together[row, column], render_pusht(states[row, column], 64))
    assert render_pusht(np.zeros((0, 7)), 64).shape == (0, 3, 64, 64)
    far = np.array([-500.0, -500.0, 900.0, 900.0, 0.0])
    assert not (canvas(far) == 225).any()


def test_golden_frames_are_equal_to_one_level_but_for_contact_marks(golden_dir):
    with np.load(golden_dir / "pusht_frames.npz") as case:
        for state, shown, expected in zip(
            case["frame_obs"].astype(float), case["with_target"], case["frames"], strict=True
        ):
            frame = render_pusht(state, 224, with_target=bool(shown)).permute(1, 2, 0).numpy()
            error = np.abs(frame.astype(int) - expected.astype(int)).max(-1)
            assert (error > 1).sum() <= 12


def picture(mask):
    return ["".join("#" if pixel else "." for pixel in row) for row in mask]


def test_a_rectangle_fills_its_corners_too():
    corners = np.array([[[(1, 1), (4, 1), (4, 3), (1, 3)]]])
    mask = fill_spans(polygon_spans(corners, 6), 6)[0]
    assert picture(mask) == ["......", ".####.", ".####.", ".####.", "......", "......"]


def test_edges_of_polygons_round_to_the_left():
    corners = np.array([[[(0, 0), (6, 2), (0, 4), (0, 4)]]])
    mask = fill_spans(polygon_spans(corners, 7), 7)[0]
    assert picture(mask)[:5] == ["#......", "####...", "#######", "####...", "#......"]


def test_a_flat_line_is_thick_along_y():
    rows, columns = line_spans(np.array([[[2, 3]]]), np.array([[[5, 3]]]), size=8)
    assert not fill_spans(rows, 8).any()
    expected = ["........"] * 2 + ["..####.."] * 4 + ["........"] * 2
    assert picture(fill_spans(columns, 8)[0].T) == expected


def test_a_steep_line_is_thick_along_x():
    start, end = np.array([[[4, 6]]]), np.array([[[3, 1]]])
    rows, columns = line_spans(start, end, size=9)
    assert not fill_spans(columns, 9).any()
    assert picture(fill_spans(rows, 9)[0])[1:7] == [
        "..####...",
        "..####...",
        "..####...",
        "...####..",
        "...####..",
        "...####..",
    ]


def test_diagonals_count_as_steep():
    rows, columns = line_spans(np.array([[[1, 1]]]), np.array([[[4, 4]]]), size=8)
    assert not fill_spans(columns, 8).any()
    assert picture(fill_spans(rows, 8)[0])[1:5] == ["####....", ".####...", "..####..", "...####."]


def test_discs_are_as_wide_as_their_diameter():
    assert picture(disc_mask(2)) == [".##.", "####", "####", ".##."]
    for radius in (11, 15):
        mask = disc_mask(radius)
        assert mask.shape == (2 * radius, 2 * radius)
        assert mask.any(0).all()
        assert mask.any(1).all()
        np.testing.assert_array_equal(mask, mask[:, ::-1])
        assert abs(mask.sum() / (np.pi * radius**2) - 1) < 0.04


def test_shapes_of_a_picture_are_filled_together_and_clipped():
    centers = np.array([[(0, 2), (7, 2)], [(4, 4), (4, 4)]])
    mask = fill_spans(disc_spans(centers, 2, size=8), 8)
    assert picture(mask[0])[:4] == ["#.....##", "##...###", "##...###", "#.....##"]
    assert mask[1].sum() == 12
