"""From pixels to the input of a network that others trained, and back."""

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

Normalization = Literal["imagenet", "half"]
"""`imagenet`: mean and standard deviation of ImageNet by colour; `half`: 0.5 and 0.5, which maps
pixels to [-1, 1]."""

_MEAN_STD: dict[Normalization, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "half": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
}


def prepare_images(
    pixels: UInt8[Tensor, "*b 3 height width"],
    size: int,
    *,
    normalization: Normalization,
    dtype: torch.dtype = torch.float32,
) -> Float[Tensor, "*b 3 {size} {size}"]:
    """Crop to the central square, resize to `size` pixels a side and normalise.

    Bilinear without antialiasing, as the reference trains and evaluates; a resize with
    antialiasing (the default of image libraries) gives other features.

    Args:
        pixels: images `[*b, 3, Hpx, Wpx]`, 0 to 255.
        size: side S of the result in pixels.
        normalization: which mean and standard deviation.
        dtype: type of the result `[*b, 3, S, S]`.
    """
    square = center_square(pixels)
    images = square.reshape(-1, *square.shape[-3:]).to(dtype) / 255
    if images.shape[-1] != size:
        images = F.interpolate(
            images, (size, size), mode="bilinear", align_corners=False, antialias=False
        )
    mean, std = _mean_std(normalization, images)
    return ((images - mean) / std).view(*pixels.shape[:-2], size, size)


def center_square(
    pixels: UInt8[Tensor, "*b channels height width"],
) -> UInt8[Tensor, "*b channels side side"]:
    """Cut out the central square of the shorter side; an odd rest is longer below and right."""
    height, width = pixels.shape[-2:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return pixels[..., top : top + side, left : left + side]


def restore_pixels(
    images: Float[Tensor, "*b 3 height width"], *, normalization: Normalization
) -> UInt8[Tensor, "*b 3 height width"]:
    """Undo the normalisation of images `[*b, 3, Hpx, Wpx]`: 0 to 255, clipped and cut off."""
    mean, std = _mean_std(normalization, images)
    return (255 * (images * std + mean)).clamp(0, 255).to(torch.uint8)


def _mean_std(normalization: Normalization, images: Tensor) -> tuple[Tensor, Tensor]:
    mean, std = (images.new_tensor(values)[:, None, None] for values in _MEAN_STD[normalization])
    return mean, std
