"""A window is changed as a whole, by random numbers of the step and the window alone."""

from itertools import product

import pytest
import torch

from jepawm.data.augmentation import AugmentationConfig, augment
from jepawm.errors import UserError
from jepawm.types import Observation, Trajectory

INDICES = torch.tensor([5, 2, 9])


def batch_of(pixels: torch.Tensor) -> Trajectory:
    actions = torch.zeros(len(pixels), pixels.shape[1] - 1, 2)
    return Trajectory(obs=Observation(pixels=pixels), actions=actions)


def changed(pixels: torch.Tensor, *, indices=INDICES, step_seed=3, **fields) -> torch.Tensor:
    config = AugmentationConfig(**fields)
    obs = augment(batch_of(pixels), config, step_seed=step_seed, indices=indices).obs
    assert isinstance(obs, Observation)
    return obs.pixels


@pytest.fixture
def pixels() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(80, 170, (3, 4, 3, 8, 8), generator=generator, dtype=torch.uint8)


def test_zeros_leave_everything(pixels: torch.Tensor):
    assert torch.equal(changed(pixels), pixels)


def test_a_shift_moves_all_frames_of_a_window_alike_and_repeats_the_border(pixels: torch.Tensor):
    border = torch.arange(-2, 10).clamp(0, 7)
    padded = pixels[..., border, :][..., border]
    found = set()
    for step_seed in range(40):
        moved = changed(pixels, shift=2, step_seed=step_seed)
        for before, after in zip(padded, moved, strict=True):
            places = [
                (down, right)
                for down, right in product(range(5), repeat=2)
                if torch.equal(before[..., down : down + 8, right : right + 8], after)
            ]
            assert len(places) == 1
            found.update(places)
    assert len(found) == 25


def test_color_is_one_affine_map_of_each_channel_of_a_window(pixels: torch.Tensor):
    after = changed(pixels, color=0.2).float()
    for window, before in zip(after, pixels.float(), strict=True):
        for channel in range(3):
            x, y = before[:, channel].flatten(), window[:, channel].flatten()
            slope, offset = torch.linalg.lstsq(torch.stack([x, torch.ones_like(x)], 1), y).solution
            assert (slope * x + offset - y).abs().max() < 0.6  # rounding
            assert 0.7 <= slope <= 1.3
    assert not torch.equal(after[0], after[1])


def test_numbers_depend_on_step_and_window_alone(pixels: torch.Tensor):
    fields = {"shift": 2, "color": 0.2}
    whole = changed(pixels, **fields)
    assert torch.equal(whole[1:], changed(pixels[1:], indices=INDICES[1:], **fields))
    assert not torch.equal(whole, changed(pixels, step_seed=4, **fields))
    assert not torch.equal(whole, changed(pixels, indices=INDICES + 1, **fields))


def test_noise_is_one_for_each_action_and_one_for_the_proprioception_of_a_window():
    indices = torch.arange(400)
    batch = Trajectory(
        obs=Observation(
            pixels=torch.zeros(400, 4, 3, 1, 1, dtype=torch.uint8), proprio=torch.ones(400, 4, 5)
        ),
        actions=torch.ones(400, 3, 6),
    )
    config = AugmentationConfig(action_noise=0.5, proprio_noise=0.25)
    noisy = augment(batch, config, step_seed=0, indices=indices)
    assert noisy.obs.proprio is not None
    actions, proprio = noisy.actions - 1, noisy.obs.proprio - 1
    assert torch.equal(proprio, proprio[:, :1].expand_as(proprio))
    assert proprio[:, 0].std() == pytest.approx(0.25, rel=0.1)
    assert actions.std() == pytest.approx(0.5, rel=0.1)
    assert actions.diff(dim=1).std() == pytest.approx(0.5 * 2**0.5, rel=0.1)
    assert noisy.obs.pixels is batch.obs.pixels


BAD = [("shift", -1), ("color", 1.0), ("action_noise", -0.1), ("proprio_noise", float("inf"))]


@pytest.mark.parametrize(("field", "value"), BAD)
def test_ranges_are_checked(field: str, value: float):
    with pytest.raises(UserError, match=f"data.augmentation.{field} = {value}"):
        AugmentationConfig(**{field: value})
