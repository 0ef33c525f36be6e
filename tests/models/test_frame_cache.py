"""Windows hold keys and values frame after frame."""

import torch

from jepawm.models.frame_cache import Window, repeat


def frame(number: int, *, batch: int = 2) -> torch.Tensor:
    """Return two tokens of one head of width 3, filled with the problem and the frame."""
    problems = torch.arange(float(batch)).view(-1, 1, 1, 1)
    return (10 * problems + number).expand(-1, 2, 1, 3).clone()


def filled(*, batch: int = 2) -> Window:
    window = Window(start=4)
    for number in (4, 5, 6):
        for layer in range(2):
            one = frame(number, batch=batch) + 100 * layer
            window.append(layer, key=one, value=-one)
    return window


def test_frames_follow_each_other_in_every_layer():
    window = filled()
    assert window.keys[1][1, :, 0, 0].tolist() == [114, 114, 115, 115, 116, 116]
    assert window.values[0][0, :, 0, 0].tolist() == [-4, -4, -5, -5, -6, -6]


def test_the_last_tokens_or_all_there_are():
    assert filled().last(2).keys[0][0, :, 0, 0].tolist() == [6, 6]
    assert filled().last(0).keys[0].shape == (2, 0, 1, 3)
    assert filled().last(100).keys[0].shape == (2, 6, 1, 3)


def test_some_problems_and_their_candidates():
    window = filled(batch=3).of(slice(1, 3)).repeated(2)
    assert window.keys[0][:, 0, 0, 0].tolist() == [14, 14, 24, 24]
    assert window.start == 4


def test_one_problem_is_repeated_without_a_copy():
    one = torch.randn(1, 5, 7)
    assert repeat(one, 4).stride() == (0, 7, 1)
    assert repeat(torch.arange(2.0), 3).tolist() == [0, 0, 0, 1, 1, 1]
