"""Masked latent prediction: what is hidden stays hidden, and where places are."""

import torch

from jepawm.training.pretraining.settings import ViTConfig, VJepaConfig
from jepawm.training.pretraining.vjepa import _MASKS, MaskedPrediction, draw_mask

CONFIG = VJepaConfig(
    vit=ViTConfig(image_size=16, patch_size=4), num_frames=2, depth=1, width=16, momentum=0.5
)


def test_masks_hide_something_and_leave_something():
    generator = torch.Generator().manual_seed(0)
    for side in (2, 4, 8):
        for num_blocks, area in (*_MASKS, (1, 1.0), (30, 0.5)):
            hidden = draw_mask(side, num_blocks=num_blocks, area=area, generator=generator)
            assert hidden.shape == (side**2,)
            assert 0 < hidden.sum() < side**2


def test_one_block_covers_its_part_of_the_picture():
    generator = torch.Generator().manual_seed(0)
    parts = [
        draw_mask(8, num_blocks=1, area=0.25, generator=generator).float().mean()
        for _ in range(200)
    ]
    assert 0.2 < sum(parts) / 200 < 0.3


def test_the_loss_sees_no_pixel_of_what_it_hides():
    torch.manual_seed(0)
    method = MaskedPrediction(CONFIG)
    images = torch.randn(1, 2, 3, 16, 16, requires_grad=True)
    method(images, generator=torch.Generator().manual_seed(1))["loss"].backward()
    again = torch.Generator().manual_seed(1)
    hidden = [draw_mask(4, num_blocks=n, area=area, generator=again) for n, area in _MASKS]
    always = (hidden[0] & hidden[1]).reshape(4, 4)
    assert images.grad is not None
    used = (
        images.grad.abs().sum(2).unfold(2, 4, 4).unfold(3, 4, 4).sum((-2, -1)) > 0
    )  # [1, 2, 4, 4]
    assert bool(always.any())
    assert not bool(used[0, :, always].any())
    assert bool(used[0, :, ~always].all())


def test_the_first_frame_of_a_clip_is_placed_as_the_encoder_places_it():
    method = MaskedPrediction(CONFIG)
    torch.testing.assert_close(method.table[:16], method.encoder.table)
    assert not torch.equal(method.table[16:], method.encoder.table)


def test_targets_are_those_of_the_average_which_follows():
    torch.manual_seed(0)
    method = MaskedPrediction(CONFIG)
    images = torch.randn(3, 2, 3, 16, 16)
    terms = method(images, generator=torch.Generator().manual_seed(1))
    terms["loss"].backward()
    assert all(one.grad is None for one in method.teacher.parameters())
    assert all(one.grad is not None for one in method.student.parameters())
    assert terms["spread"] > 0
    before = method.teacher.norm.bias.clone()
    with torch.no_grad():
        method.student.norm.bias += 1.0
    method.follow(0.0)
    torch.testing.assert_close(method.teacher.norm.bias, before + 0.5)
    method.follow(1.0)
    torch.testing.assert_close(method.teacher.norm.bias, before + 0.5)
