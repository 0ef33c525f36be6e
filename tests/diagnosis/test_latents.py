import pytest
import torch

from jepawm.diagnosis.latents import LatentMoments, straightness, summarize_latents


def path(moves: list[list[float]]) -> torch.Tensor:
    """Return a path `[1, T+1, 1, 2]` of these moves from the origin."""
    places = torch.tensor([[0.0, 0.0], *moves]).cumsum(0)
    return places[None, :, None]


@pytest.mark.parametrize(
    ("moves", "expected"),
    [
        ([[1.0, 2.0]] * 4, 1.0),
        ([[1.0, 0.0], [-3.0, 0.0], [2.0, 0.0]], -1.0),
        ([[1.0, 0.0], [0.0, 2.0], [-1.0, 0.0]], 0.0),
    ],
)
def test_straightness_known_by_hand(moves: list[list[float]], expected: float):
    assert straightness(path(moves)).tolist() == pytest.approx([expected], abs=1e-6)


def test_moments_of_two_tokens_known_by_hand():
    # token 0 is 10 or 12 in the first channel, token 1 is always 0; the second channel stands still
    codes = torch.zeros(1, 4, 2, 2)
    codes[0, :, 0, 0] = torch.tensor([10.0, 12.0, 10.0, 12.0])
    moments = LatentMoments(num_frames=4)
    moments.add(codes[:, :2])
    moments.add(codes[:, 2:])
    assert moments.variance == pytest.approx(1.0 / 4)
    assert moments.std == pytest.approx(1.0 / 4)
    between = 11.0**2 / 4 / 2  # of the means 11 and 0, and of 0 and 0
    assert moments.share_over_time == pytest.approx(0.25 / (0.25 + between))
    assert moments.effective_rank == pytest.approx(1.0)


def test_latents_that_are_all_the_same_have_no_variance():
    moments = LatentMoments(num_frames=6)
    moments.add(torch.full((2, 3, 1, 4), 0.1))
    assert (moments.variance, moments.share_over_time) == (0.0, 0.0)


def test_two_equal_directions_have_rank_two():
    codes = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])[None, :, None]
    moments = LatentMoments(num_frames=4)
    moments.add(codes)
    shape = summarize_latents(
        moments, width=2, real=torch.tensor([0.0, 1.0]), predicted=torch.tensor([1.0, 1.0])
    )
    assert shape.effective_rank == pytest.approx(2.0)
    assert (shape.width, shape.share_over_time) == (2, 1.0)
    assert shape.straightness.difference == 0.5
    assert shape.predicted_straightness.ci95 == (1.0, 1.0)
