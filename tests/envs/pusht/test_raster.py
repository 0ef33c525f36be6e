"""Filled pixels of polygons, thick lines and discs: pictures drawn by hand."""

import numpy as np

from jepawm.envs.pusht.raster import (
    disc_mask,
    disc_spans,
    fill_spans,
    line_spans,
    polygon_spans,
)


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
