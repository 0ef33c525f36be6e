"""Statistics belong to one environment step and apply piece by piece to action blocks."""

import pytest
import torch

from jepawm.errors import UserError
from jepawm.normalizer import Normalizer
from jepawm.types import Observation


def normalizer() -> Normalizer:
    return Normalizer.from_statistics(
        action_mean=[1.0, -1.0], action_std=[2.0, 0.5], proprio_mean=[10.0], proprio_std=[4.0]
    )


def test_a_block_is_normalised_piece_by_piece():
    block = torch.tensor([[3.0, -1.0, 1.0, 0.0]])  # two environment actions
    assert normalizer().normalize_action(block).tolist() == [[1.0, 0.0, 0.0, 2.0]]


def test_unnormalising_inverts_normalising():
    actions = torch.randn(3, 5, 6, generator=torch.Generator().manual_seed(0))
    there = normalizer().normalize_action(actions)
    torch.testing.assert_close(normalizer().unnormalize_action(there), actions)


def test_proprio_is_normalised_and_pixels_are_not():
    pixels = torch.full((2, 3, 4, 4), 7, dtype=torch.uint8)
    obs = Observation(pixels=pixels, proprio=torch.tensor([[10.0], [18.0]]))
    normalised = normalizer().observation(obs)
    assert normalised.proprio is not None
    assert normalised.proprio.tolist() == [[0.0], [2.0]]
    assert torch.equal(normalised.pixels, pixels)
    without = Observation(pixels=pixels)
    assert normalizer().observation(without).proprio is None


def test_a_constant_column_keeps_its_scale():
    flat = Normalizer.from_statistics(action_mean=[5.0], action_std=[0.0])
    assert flat.normalize_action(torch.tensor([[5.0, 6.0]])).tolist() == [[0.0, 1.0]]


@pytest.mark.parametrize(
    ("mean", "std", "message"),
    [
        ([float("nan")], [1.0], "action_mean"),
        ([0.0], [float("inf")], "action_std"),
        ([0.0], [-1.0], "negative"),
    ],
)
def test_impossible_statistics_are_refused(mean: list[float], std: list[float], message: str):
    with pytest.raises(UserError, match=message):
        Normalizer.from_statistics(action_mean=mean, action_std=std)


def test_json_gives_the_same_normalizer_back():
    record = normalizer().to_json()
    assert record["action_mean"] is not None
    assert record["action_std"] is not None
    again = Normalizer.from_statistics(
        action_mean=record["action_mean"],
        action_std=record["action_std"],
        proprio_mean=record["proprio_mean"],
        proprio_std=record["proprio_std"],
    )
    assert again.to_json() == record


def test_statistics_come_back_from_json():
    normalizer = Normalizer.from_json({"action_mean": [1, 2], "action_std": [3.0, 4]}, source="x")
    assert normalizer.proprio_mean is None
    assert normalizer.action_std.tolist() == [3, 4]
    with pytest.raises(UserError, match=r"x: normalizer\.action_mean is not a list of numbers"):
        Normalizer.from_json({"action_mean": ["1"], "action_std": [1.0]}, source="x")
