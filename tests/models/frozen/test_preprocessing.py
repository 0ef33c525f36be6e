"""Preprocessing: the crop, the resize and the normalisation, with known answers."""

import pytest
import torch

from jepawm.models.frozen.preprocessing import center_square, prepare_images, restore_pixels


def gray(*rows: list[int]) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.uint8).expand(3, -1, -1)


def test_the_central_square_is_kept():
    wide = torch.arange(6, dtype=torch.uint8).expand(3, 2, 6)
    assert center_square(wide)[0, 0].tolist() == [2, 3]
    tall = wide.mT
    assert center_square(tall)[0, :, 0].tolist() == [2, 3]
    assert center_square(torch.arange(5, dtype=torch.uint8).expand(3, 2, 5))[0, 0].tolist() == [
        1,
        2,
    ]
    square = torch.zeros(4, 3, 5, 5, dtype=torch.uint8)
    assert center_square(square).shape == square.shape


def test_colours_have_their_own_mean_and_deviation():
    white = torch.full((3, 2, 2), 255, dtype=torch.uint8)
    half = prepare_images(white, 2, normalization="half")
    assert torch.equal(half, torch.ones(3, 2, 2))
    imagenet = prepare_images(white, 2, normalization="imagenet")
    expected = [(1 - 0.485) / 0.229, (1 - 0.456) / 0.224, (1 - 0.406) / 0.225]
    torch.testing.assert_close(imagenet[:, 0, 0], torch.tensor(expected))


def test_shrinking_interpolates_between_neighbours_only():
    """Four columns to one: the two in the middle count, which antialiasing would not do."""
    row = [255, 0, 0, 255]
    image = prepare_images(gray(row, row, row, row), 1, normalization="half")
    assert image.flatten().tolist() == [-1.0, -1.0, -1.0]


def test_enlarging_is_linear_and_flat_at_the_rim():
    image = prepare_images(gray([0, 255], [0, 255]), 4, normalization="half")
    torch.testing.assert_close(image[0, 0], torch.tensor([-1.0, -0.5, 0.5, 1.0]))


def test_batch_axes_and_pixels_are_left_alone():
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (2, 4, 3, 6, 8), generator=generator, dtype=torch.uint8)
    before = pixels.clone()
    images = prepare_images(pixels, 5, normalization="imagenet", dtype=torch.float64)
    assert images.shape == (2, 4, 3, 5, 5)
    assert images.dtype == torch.float64
    assert torch.equal(pixels, before)
    one = prepare_images(pixels[1, 2], 5, normalization="imagenet", dtype=torch.float64)
    torch.testing.assert_close(images[1, 2], one)


@pytest.mark.parametrize("normalization", ["imagenet", "half"])
def test_pixels_come_back(normalization):
    pixels = torch.arange(256, dtype=torch.uint8).view(1, 16, 16).expand(3, -1, -1)
    images = prepare_images(pixels, 16, normalization=normalization)
    back = restore_pixels(images, normalization=normalization)
    assert (back.int() - pixels.int()).abs().max() <= 1  # cut off, not rounded


def test_what_is_beyond_black_and_white_is_clipped():
    images = torch.tensor([-9.0, 0.0, 9.0]).expand(3, 1, 3)
    assert restore_pixels(images, normalization="half")[0, 0].tolist() == [0, 127, 255]
