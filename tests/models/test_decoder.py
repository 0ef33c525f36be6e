"""Decoders: where each patch and each colour lies, and what depends on what."""

import pytest
import torch

from jepawm.errors import UserError
from jepawm.models.decoder import DecoderConfig, ImageDecoder, StateDecoder

TINY = DecoderConfig(depth=1, width=8, num_heads=2)


def image_decoder(config: DecoderConfig = TINY, **settings) -> ImageDecoder:
    sizes = {"latent_dim": 5, "grid": (2, 2), "image_size": (8, 12), "patch_size": 4}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return ImageDecoder(config, **(sizes | settings)).eval()


def state_decoder(config: DecoderConfig = TINY) -> StateDecoder:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return StateDecoder(config, latent_dim=5, grid=(2, 3), state_dim=4).eval()


def tokens_of(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def test_patches_are_painted_row_by_row_with_the_colour_last(monkeypatch):
    decoder = image_decoder()
    numbers = torch.arange(2 * 3 * 4 * 4 * 3.0).view(1, 6, 48)  # 6 patches of 4 x 4 x 3
    monkeypatch.setattr(decoder, "decode_patches", lambda tokens: numbers)
    image = decoder(tokens_of(1, 4, 5))[0]  # [3, 8, 12]
    assert image[:, 0, 0].tolist() == [0.0, 1.0, 2.0]  # three colours of the first pixel
    assert image[0, 0, :5].tolist() == [0.0, 3.0, 6.0, 9.0, 48.0]  # then the patch to the right
    assert image[0, :5, 0].tolist() == [0.0, 12.0, 24.0, 36.0, 144.0]  # and the patch below


@torch.no_grad()
def test_without_blocks_a_frame_of_equal_tokens_differs_by_position_only():
    decoder = image_decoder(DecoderConfig(depth=0, width=8, num_heads=2))
    one, two = (torch.full((1, 4, 5), value) for value in (0.3, -0.7))
    decoder.table.zero_()
    assert (decoder.decode_patches(one) - decoder.decode_patches(one)[:, :1]).abs().max() < 1e-6
    assert (decoder.decode_patches(one) - decoder.decode_patches(two)).abs().max() > 1e-3


@torch.no_grad()
def test_frames_are_decoded_alone():
    tokens = tokens_of(2, 3, 4, 5)
    decoder = image_decoder()
    images = decoder(tokens)
    assert images.shape == (2, 3, 3, 8, 12)
    torch.testing.assert_close(images[1, 2], decoder(tokens[1, 2]))
    pixels = decoder.pixels(tokens)
    assert (pixels.dtype, pixels.shape) == (torch.uint8, images.shape)
    reader, states = state_decoder(), tokens_of(2, 3, 6, 5)
    assert reader(states).shape == (2, 3, 4)
    torch.testing.assert_close(reader(states)[1, 2], reader(states[1, 2]))


@torch.no_grad()
def test_a_state_depends_on_where_a_token_lies():
    reader, tokens = state_decoder(), tokens_of(1, 6, 5)
    assert (reader(tokens) - reader(tokens.flip(1))).abs().max() > 1e-4
    reader.table.zero_()
    torch.testing.assert_close(reader(tokens), reader(tokens.flip(1)))


def test_the_decoders_have_the_size_of_the_released_ones():
    """24 blocks of 12,596,224, plus embedding, norm, view token and 192 outputs a patch."""
    with torch.device("meta"):
        decoder = ImageDecoder(DecoderConfig(), latent_dim=384, grid=(16, 16))
    count = sum(weight.numel() for weight in decoder.parameters())
    assert count == 24 * 12_596_224 + (384 + 1) * 1024 + 2 * 1024 + 1024 + (1024 + 1) * 192


@pytest.mark.parametrize(
    "change", [{"depth": 2}, {"width": 16}, {"num_heads": 4}, {"mlp_ratio": 2.0}, {"norm_eps": 1.0}]
)
@torch.no_grad()
def test_every_field_changes_the_image(change):
    config = DecoderConfig(**({"depth": 1, "width": 8, "num_heads": 2} | change))
    tokens = tokens_of(1, 4, 5)
    assert not torch.allclose(image_decoder()(tokens), image_decoder(config)(tokens))


def test_sizes_that_do_not_fit_are_refused():
    with pytest.raises(UserError, match=r"decoder\.width = 10"):
        DecoderConfig(width=10, num_heads=2)
    with pytest.raises(UserError, match=r"image size \(10, 8\)"):
        image_decoder(image_size=(10, 8))
