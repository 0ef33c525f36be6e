"""Position codes: known numbers, and what makes a rotary code rotary."""

import math

import pytest
import torch

from jepawm.models.positions import (
    frame_grid_sincos,
    grid_sincos,
    resample_table,
    rotary_angles,
    rotate,
    rotation_by,
    sincos_table,
)


def angles_of(*, tiled: bool, num_frames: int = 4, grid=(3, 3), num_condition: int = 0, head=24):
    return rotary_angles(
        num_frames=num_frames, grid=grid, num_condition=num_condition, head_dim=head, tiled=tiled
    )


def turn_all(x, angles, *, num_frames: int = 1):
    """Turn `x` `[L, h]`, one row per angle."""
    rotation = rotation_by(angles, num_frames=num_frames, num_heads=1, device=x.device)
    return rotate(x.view(num_frames, -1, 1, x.shape[-1]), rotation).view_as(x)


def test_tiled_rotation_of_the_reference_unit_vector():
    """`r = 8`, `x = 0..7`, position 1: numbers of the reference."""
    angles = angles_of(tiled=True, num_frames=2, grid=(1, 1))
    x = torch.arange(8.0).repeat(3)[None]  # [1, 24]: frame, row and column part
    turned = turn_all(x, angles[1:])[0]
    expected = [-0.8415, 0.9950, 1.9699, 3.0020, -2.0461, 5.3744, 5.9297, 7.0060]
    torch.testing.assert_close(turned[:8], torch.tensor(expected), atol=5e-5, rtol=0)
    torch.testing.assert_close(turned[8:], x[0, 8:])  # row 0, column 0: not turned


def test_rotation_turns_the_first_pair_by_the_frame_number():
    angles = angles_of(tiled=False, num_frames=3, grid=(1, 1), head=6)
    turned = turn_all(torch.tensor([[1.0, 0, 0, 0, 0, 0]]).repeat(3, 1), angles)
    torch.testing.assert_close(turned[2, :2], torch.tensor([math.cos(2.0), math.sin(2.0)]))


def test_rows_and_columns_turn_their_own_channels():
    angle = angles_of(tiled=False, num_frames=1, grid=(2, 3), head=6).float()  # [6 patches, 6]
    torch.testing.assert_close(angle[:, 0], torch.zeros(6))
    torch.testing.assert_close(angle[:, 2], torch.tensor([0.0, 0, 0, 1, 1, 1]))
    torch.testing.assert_close(angle[:, 4], torch.tensor([0.0, 1, 2, 0, 1, 2]))


def test_condition_tokens_turn_with_their_frame_only():
    angle = angles_of(tiled=False, num_frames=2, grid=(2, 2), num_condition=1, head=6).float()
    torch.testing.assert_close(angle[5], torch.tensor([1.0, 1, 0, 0, 0, 0]))


def test_channels_that_do_not_divide_stay():
    x = torch.randn(36, 25, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(turn_all(x, angles_of(tiled=False, head=25))[:, 24:], x[:, 24:])


def test_heads_turn_alike_and_frames_by_their_own_angles():
    x = torch.randn(5, 2, 9, 1, 3 * 25, generator=torch.Generator().manual_seed(0))
    angles = angles_of(tiled=True, num_frames=2, head=25)
    turned = rotate(x, rotation_by(angles, num_frames=2, num_heads=3, device=x.device))
    for head in range(3):
        part = slice(25 * head, 25 * head + 25)
        alone = turn_all(x[4, ..., part].reshape(18, 25), angles)
        torch.testing.assert_close(turned[4, ..., part].reshape(18, 25), alone)


def test_rope_is_a_rotation_and_the_tiled_one_is_not():
    x = torch.randn(36, 24, generator=torch.Generator().manual_seed(0))
    turned = turn_all(x, angles_of(tiled=False))
    torch.testing.assert_close(turned.norm(dim=-1), x.norm(dim=-1))
    tiled = turn_all(x, angles_of(tiled=True))
    assert (tiled.norm(dim=-1) - x.norm(dim=-1)).abs().max() > 0.1


def test_rope_scores_depend_on_relative_positions_only():
    query, key = torch.randn(2, 24, generator=torch.Generator().manual_seed(0))
    angles = angles_of(tiled=False, num_frames=4, grid=(4, 4))
    queries = turn_all(query.repeat(64, 1), angles).view(4, 4, 4, 24)
    keys = turn_all(key.repeat(64, 1), angles).view(4, 4, 4, 24)
    here = queries[1, 2, 1] @ keys[0, 1, 2]
    there = queries[3, 3, 2] @ keys[2, 2, 3]
    torch.testing.assert_close(here, there)
    assert (queries[1, 2, 1] @ keys[0, 1, 1] - here).abs() > 1e-3


def test_sincos_table_has_sines_then_cosines():
    table = sincos_table(torch.tensor([0.0, 1.0, 2.0]), dim=4)
    expected = [math.sin(2), math.sin(0.02), math.cos(2), math.cos(0.02)]
    torch.testing.assert_close(table[0], torch.tensor([0.0, 0, 1, 1]))
    torch.testing.assert_close(table[2], torch.tensor(expected))


def test_sequence_table_codes_frame_row_and_column():
    table = frame_grid_sincos(num_frames=2, grid=(2, 2), num_condition=1, dim=16)
    coordinates = torch.tensor([0.0, 1.0])
    frame, place = sincos_table(coordinates, dim=4), sincos_table(coordinates, dim=6)
    last = torch.cat([frame[1], place[1], place[1]])  # frame 1, row 1, column 1
    torch.testing.assert_close(table[9], last)
    torch.testing.assert_close(table[5], torch.cat([frame[1], torch.zeros(12)]))  # condition token
    assert len(table.unique(dim=0)) == 10


@pytest.mark.parametrize("dim", [1, 2, 7, 30, 33])
def test_odd_widths_are_filled(dim: int):
    assert frame_grid_sincos(num_frames=2, grid=(2, 3), num_condition=2, dim=dim).shape == (16, dim)


def test_the_table_of_a_grid_codes_rows_in_its_first_half():
    """Width 8: two frequencies, 1 and 1/100; sines before cosines."""
    table = grid_sincos((2, 3), dim=8)
    row, column = 1, 2
    expected = [
        turn(place * frequency)
        for place in (row, column)
        for turn in (math.sin, math.cos)
        for frequency in (1.0, 0.01)
    ]
    torch.testing.assert_close(table[row * 3 + column], torch.tensor(expected))


def test_resampling_keeps_a_constant_table_and_its_own_size():
    table = torch.arange(4 * 4 * 2.0).view(16, 2)
    assert resample_table(table, 4, antialias=False, offset=0.1) is table
    for settings in ({"antialias": False, "offset": 0.1}, {"antialias": True, "offset": 0.0}):
        constant = resample_table(torch.full((16, 2), 3.0), 3, **settings)
        torch.testing.assert_close(constant, torch.full((9, 2), 3.0))


def test_resampling_keeps_rows_and_columns_apart():
    """A table that holds row and column: halved, the middle of each pair of lines."""
    lines = torch.arange(8.0)
    table = torch.stack(torch.meshgrid(lines, 10 * lines, indexing="ij"), dim=-1).view(64, 2)
    small = resample_table(table, 4, antialias=False, offset=0.0).view(4, 4, 2)
    torch.testing.assert_close(small[1, 2], torch.tensor([2.5, 45.0]))


def test_the_offset_shifts_where_the_table_is_read():
    """Row 1 of 4 out of 8 is read at (1 + 1/2) 8 / 4.1 - 1/2, about 2.43 instead of 2.5."""
    table = torch.arange(8.0)[:, None, None].expand(8, 8, 1).reshape(64, 1)
    small = resample_table(table, 4, antialias=False, offset=0.1).view(4, 4)
    assert small[1, 2].item() == pytest.approx(
        1.5 * 8 / 4.1 - 0.5, abs=0.02
    )  # cubic, nearly linear
