"""Frames keep their keys and values window by window."""

import torch

from jepawm.engine.frame_cache import Frame, Windows, repeat


def frame(*, newest: int, oldest: int, batch: int = 2) -> Frame:
    """Return two layers whose keys tell the start of their window and the problem."""
    starts = torch.arange(newest, oldest - 1, -1.0).view(-1, 1, 1, 1, 1)
    key = (starts + 100 * torch.arange(float(batch)).view(-1, 1, 1, 1)).expand(-1, -1, 2, 1, 3)
    return Frame(windows=Windows(newest=newest, oldest=oldest), layers=[(key, -key)] * 2)


def starts_seen(seen: Frame, windows: Windows) -> list[float]:
    key, value = seen.seen_from(windows, layer=1)
    assert torch.equal(value, -key)
    return key[:, 0, 0, 0, 0].tolist()


def test_windows_count_from_the_newest_to_the_oldest():
    assert len(Windows(newest=5, oldest=3)) == 3


def test_a_frame_is_seen_from_the_windows_that_hold_it():
    old = frame(newest=4, oldest=2)  # frame 4 in the windows that start at 4, 3 and 2
    assert starts_seen(old, Windows(newest=5, oldest=3)) == [4, 3]
    assert starts_seen(old, Windows(newest=3, oldest=3)) == [3]
    assert starts_seen(old, Windows(newest=4, oldest=2)) == [4, 3, 2]
    assert starts_seen(old, Windows(newest=6, oldest=5)) == []


def test_a_map_reaches_every_layer():
    doubled = frame(newest=1, oldest=0).map(lambda tensor: 2 * tensor)
    assert [key[0, 0, 0, 0, 0].item() for key, _ in doubled.layers] == [2, 2]
    assert [value[0, 1, 0, 0, 0].item() for _, value in doubled.layers] == [-202, -202]


def test_one_problem_is_repeated_without_a_copy():
    one = torch.randn(1, 5, 7)
    assert repeat(one, 4).stride() == (0, 7, 1)
    assert repeat(torch.arange(2.0), 3).tolist() == [0, 0, 0, 1, 1, 1]
