"""Encoders: what they see, what they leave alone, and how their tokens lie."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from jepawm.errors import UserError
from jepawm.models.encoders import BatchNorm, EncoderConfig, PositionNorm, build_encoder

FAMILIES = ("conv", "vit")


def encoder_of(**fields):
    settings = {"family": "conv", "dim": 6, "grid": 1, "image_size": 32, "patch_size": 8}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build_encoder(EncoderConfig(**(settings | fields))).eval()


def images_of(*shape: int, size: int = 32, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (*shape, 3, size, size), generator=generator, dtype=torch.uint8)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("grid", [1, 2])
def test_batch_axes_are_kept_and_images_are_independent(family, grid):
    encoder = encoder_of(family=family, grid=grid)
    pixels = images_of(2, 3)
    tokens = encoder(pixels)
    assert tokens.shape == (2, 3, grid**2, 6)
    assert (encoder.num_tokens, encoder.grid, encoder.dim) == (grid**2, (grid, grid), 6)
    torch.testing.assert_close(tokens[1, 2], encoder(pixels[1, 2]), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_pixels_are_not_modified(family):
    pixels = images_of(2)
    before = pixels.clone()
    encoder_of(family=family)(pixels)
    assert torch.equal(pixels, before)


@pytest.mark.parametrize("family", FAMILIES)
def test_images_of_another_size_are_resized(family):
    encoder = encoder_of(family=family)
    small = images_of(2, size=16)
    large = F.interpolate(small.float(), (32, 32), mode="nearest")
    doubled = F.interpolate(large, (64, 64), mode="nearest").to(torch.uint8)
    tokens = encoder(doubled)  # halving what was doubled gives it back
    torch.testing.assert_close(tokens, encoder(large.to(torch.uint8)), atol=1e-5, rtol=1e-4)


def test_tokens_of_a_grid_lie_row_by_row():
    """Without positions and neighbours (one cell per patch) a token depends on its cell."""
    encoder = encoder_of(family="conv", grid=2)
    encoder.backbone = torch.nn.AvgPool2d(16)
    encoder.head = torch.nn.Linear(3, 6)
    pixels = images_of(1)
    changed = pixels.clone()
    changed[:, :, :16, 16:] = 0  # top right: token 1
    difference = (encoder(pixels) - encoder(changed)).abs().amax(-1)[0]
    assert torch.equal(difference > 1e-4, torch.tensor([False, True, False, False]))


@pytest.mark.parametrize("family", FAMILIES)
def test_the_place_of_a_dot_shows_in_the_tokens(family):
    encoder = encoder_of(family=family)
    images = torch.zeros(2, 3, 32, 32, dtype=torch.uint8)
    images[0, :, 4:8, 4:8] = 255
    images[1, :, 20:24, 12:16] = 255
    first, second = encoder(images)
    assert (first - second).abs().max() > 1e-4


def test_batch_norm_standardises_tokens_in_training():
    pixels = images_of(16)
    for grid in (1, 2):
        tokens = encoder_of(grid=grid, batch_norm=True).train()(pixels).flatten(0, 1)
        torch.testing.assert_close(tokens.mean(0), torch.zeros(6), atol=1e-5, rtol=0)
        assert (tokens.std(0) > 0.9).all()
    assert encoder_of(batch_norm=False).train()(pixels).std(0).max() < 0.9


def grid_tokens(num_frames: int = 500) -> torch.Tensor:
    """Return tokens `[n, 3, 2]`: places far apart, the first two vary a little, the last not."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(num_frames, 3, 2, generator=generator)
    noise = (noise - noise.mean(0)) / noise.std(0, correction=0)
    return (
        torch.tensor([-9.0, 0.0, 9.0])[:, None] + torch.tensor([0.02, 0.01, 0.0])[:, None] * noise
    )


def test_places_are_centred_and_share_their_spread():
    tokens = PositionNorm(3, 2)(grid_tokens())
    torch.testing.assert_close(tokens.mean(0), torch.zeros(3, 2), atol=1e-4, rtol=0)
    spread = 0.01 / ((0.02**2 + 0.01**2) / 3 + 1e-8) ** 0.5
    expected = torch.tensor([2 * spread, spread, 0.0])[:, None].expand(3, 2)
    torch.testing.assert_close(tokens.std(0, correction=0), expected, atol=1e-3, rtol=0)


def test_what_differs_from_place_to_place_does_not_hide_what_moves():
    """With statistics that places share, the same tokens vary by a thousandth from frame to frame."""
    shared = BatchNorm(2)(grid_tokens().flatten(0, 1)).view(-1, 3, 2)
    assert shared.std(0).max() < 3e-3
    assert PositionNorm(3, 2)(grid_tokens()).std(0).max() > 1


def test_a_grid_is_encoded_in_evaluation_as_in_training():
    norm, tokens = PositionNorm(3, 2), grid_tokens()
    for _ in range(200):
        seen = norm(tokens)
    torch.testing.assert_close(norm.eval()(tokens), seen, atol=1e-2, rtol=1e-2)


def test_statistics_of_a_grid_belong_to_places_unless_they_are_shared():
    shapes = {
        statistics: tuple(encoder_of(grid=2, statistics=statistics).norm.running_mean.shape)
        for statistics in ("centred", "shared")
    }
    assert shapes == {"centred": (4, 6), "shared": (6,)}
    one = encoder_of(grid=1).norm.state_dict()
    assert one.keys() == BatchNorm(6).state_dict().keys()
    moving = images_of(16) // 16  # a dark scene
    moving[:, :, :16, :16] = 255  # and a place that is bright in all frames
    spreads = []
    for statistics in ("centred", "shared"):
        tokens = encoder_of(grid=2, statistics=statistics).train()(moving)
        spreads.append(tokens.std(0).mean().item())
    assert spreads[0] > 1.5 * spreads[1]


@pytest.mark.parametrize(
    "change",
    [{"family": "vit"}, {"size": "B"}, {"dim": 8}, {"grid": 2}, {"image_size": 64}],
    ids=lambda change: next(iter(change)),
)
def test_every_field_changes_the_tokens(change):
    before, after = encoder_of()(images_of(1)), encoder_of(**change)(images_of(1))
    assert before.shape != after.shape or not torch.allclose(before, after)
    if change.get("family") == "vit":
        assert not torch.allclose(after, encoder_of(patch_size=16, **change)(images_of(1)))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"dim": 0}, r"encoder\.dim = 0"),
        ({"grid": 0}, r"encoder\.grid = 0"),
        ({"image_size": 40}, r"encoder\.image_size = 40"),
        ({"image_size": 64, "grid": 3}, r"encoder\.grid = 3"),
        ({"family": "vit", "patch_size": 7}, r"encoder\.image_size = 32"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(fields, message):
    with pytest.raises(UserError, match=message):
        encoder_of(**fields)


def test_one_process_is_batch_norm_without_weights():
    ours, theirs = BatchNorm(3), nn.BatchNorm1d(3, affine=False)
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    for step in range(3):
        x = torch.randn(8, 3, generator=torch.Generator().manual_seed(step))
        assert torch.equal(ours(x), theirs(x))
    for name, value in theirs.state_dict().items():
        assert torch.equal(ours.state_dict()[name], value)
    assert torch.equal(ours.eval()(x), theirs.eval()(x))
