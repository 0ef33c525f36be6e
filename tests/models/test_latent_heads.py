"""Heads read pictures and states out of latents of every layout."""

import pytest
import torch

from jepawm.decoding import DecodingConfig
from jepawm.errors import UserError
from jepawm.models.latent_heads import HeadShape, LatentHead, join_codes, shape_of
from jepawm.types import Latent

LAYOUTS = {  # tokens, grid, proprio width, copies of the proprio code
    "one token": (1, (1, 1), 0, 0),
    "one token and proprio": (1, (1, 1), 3, 1),
    "grid and proprio": (4, (2, 2), 3, 4),
    "grid and a proprio token": (4, (2, 2), 3, 1),
}
every_layout = pytest.mark.parametrize("layout", LAYOUTS)
CONFIG = DecodingConfig(width=8, depth=1, channels=4, patch_size=4)


def latents(layout: str, *batch: int) -> Latent:
    tokens, _, proprio, copies = LAYOUTS[layout]
    code = torch.randn(*batch, copies, proprio) if proprio else None
    return Latent(tokens=torch.randn(*batch, tokens, 5), proprio=code)


def head(layout: str, kind, target: torch.Tensor) -> LatentHead:
    torch.manual_seed(0)
    shape = shape_of(latents(layout, 2), grid=LAYOUTS[layout][1], kind=kind, target=target)
    return LatentHead(CONFIG, shape).requires_grad_(requires_grad=False)


@every_layout
def test_a_picture_and_a_state_of_every_latent(layout: str):
    pictures = head(layout, "pixels", torch.zeros(2, 3, 8, 12))
    seen = latents(layout, 2, 3)
    assert pictures(seen).shape == (2, 3, 3, 8, 12)
    painted = pictures.pixels(seen)
    assert painted.dtype == torch.uint8
    torch.testing.assert_close(painted[1, 2], pictures.pixels(seen[1, 2]))  # whatever the batch
    assert head(layout, "states", torch.zeros(2, 7))(seen).shape == (2, 3, 7)


@every_layout
def test_both_parts_of_a_latent_are_read(layout: str):
    read, seen = head(layout, "states", torch.zeros(2, 7)), latents(layout, 1)
    before = read(seen)
    assert not torch.allclose(before, read(Latent(tokens=seen.tokens + 1, proprio=seen.proprio)))
    if seen.proprio is not None:
        assert not torch.allclose(
            before, read(Latent(tokens=seen.tokens, proprio=seen.proprio + 1))
        )


def test_a_proprio_token_stands_beside_every_token():
    seen = latents("grid and a proprio token", 2)
    joined = join_codes(seen)
    assert joined.shape == (2, 4, 8)
    assert torch.equal(joined[:, 3, 5:], seen.proprio[:, 0])


def test_patches_lie_where_they_belong():
    read = head("one token", "pixels", torch.zeros(2, 3, 8, 12))
    last = read.net.paint[-1]
    last.weight.zero_()
    last.bias.copy_(torch.arange(4 * 4 * 3).float())  # row, column and colour of a patch, in order
    patch = torch.arange(48).reshape(4, 4, 3).permute(2, 0, 1).float()
    assert torch.equal(read.net(torch.randn(1, 1, 5))[0], patch.repeat(1, 2, 3))


def test_units_are_those_of_the_data():
    read = head("one token", "states", torch.zeros(2, 2))
    seen = latents("one token", 64)
    states = torch.randn(64, 2) * torch.tensor([3.0, 50.0]) + torch.tensor([7.0, -9.0])
    read.fit_scales(seen, states)
    torch.testing.assert_close(read.output_mean, states.mean(0))
    read.net.layers[-1].weight.zero_()
    read.net.layers[-1].bias.fill_(1.0)
    torch.testing.assert_close(read(seen[0]), states.mean(0) + states.std(0))


def test_colours_are_cut_at_black_and_white():
    read = head("one token", "pixels", torch.zeros(2, 3, 8, 8))
    read.output_mean.fill_(254.6)
    read.output_std.zero_()
    assert (read.pixels(latents("one token")) == 255).all()
    read.output_mean.fill_(-3.0)
    assert (read.pixels(latents("one token")) == 0).all()


def test_patches_that_do_not_fit_are_refused():
    with pytest.raises(UserError, match=r"patch_size = 4 does not divide frames of 8 x 10"):
        head("one token", "pixels", torch.zeros(2, 3, 8, 10))
    with pytest.raises(UserError, match=r"decoder.width = 6; give a multiple of 4"):
        DecodingConfig(width=6)


def test_a_shape_says_how_wide_its_input_is():
    shape = HeadShape(kind="states", grid=(1, 1), latent_dim=5, proprio_dim=3, output=(2,))
    assert shape.width == 8
