"""Random views of frames: crops, mirrored and in other light. What self-distillation compares."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

_ASPECT = 4 / 3  # of a crop, at most
_LIGHT, _CONTRAST, _TINT = 0.3, 0.3, 0.15  # largest relative changes
_GREY = 0.1  # part of the views without colour


def random_views(
    images: Float[Tensor, "B 3 S S"],
    size: int,
    *,
    areas: tuple[float, float],
    generator: torch.Generator,
) -> Float[Tensor, "B 3 {size} {size}"]:
    """Crop each image at random, mirror half of them, change light and colour.

    Args:
        images: images `[B, 3, S, S]` of numbers from -1 to 1.
        size: side in pixels of the views.
        areas: smallest and largest part of the image's area in a view.
        generator: draws the views.
    """
    boxes = random_boxes(len(images), areas=areas, generator=generator)
    return recolor(crop(images, size, boxes=boxes), generator=generator)


def random_boxes(
    num_boxes: int, *, areas: tuple[float, float], generator: torch.Generator
) -> Float[Tensor, "B 4"]:
    """Draw boxes (centre across, centre down, half width, half height), in half sides of the image.

    The image reaches from -1 to 1; a negative half width mirrors.
    """
    area, aspect, across, down, mirror = torch.rand(5, num_boxes, generator=generator)
    area = areas[0] + area * (areas[1] - areas[0])
    stretch = _ASPECT ** (aspect - 0.5)  # square root of the aspect
    half = torch.stack([area.sqrt() * stretch, area.sqrt() / stretch]).clamp(max=1.0)  # [2, B]
    centre = (2 * torch.stack([across, down]) - 1) * (1 - half)
    half[0] *= 1 - 2 * (mirror < 0.5).float()
    return torch.cat([centre, half]).T


def crop(
    images: Float[Tensor, "B 3 S S"], size: int, *, boxes: Float[Tensor, "B 4"]
) -> Float[Tensor, "B 3 {size} {size}"]:
    """Cut the boxes of `random_boxes` out of images and resize them, bilinear."""
    across, down, half_width, half_height = boxes.to(images).T
    zero = torch.zeros_like(across)
    matrix = torch.stack(
        [
            torch.stack([half_width, zero, across], dim=-1),
            torch.stack([zero, half_height, down], dim=-1),
        ],
        dim=1,
    )  # [B, 2, 3]
    grid = F.affine_grid(matrix, [len(images), 3, size, size], align_corners=False)
    return F.grid_sample(images, grid, align_corners=False, padding_mode="border")


def recolor(
    images: Float[Tensor, "B 3 S S"], *, generator: torch.Generator
) -> Float[Tensor, "B 3 S S"]:
    """Change brightness, contrast and tint of each image; some lose their colour."""
    light, contrast, grey = torch.rand(3, len(images), 1, 1, 1, generator=generator).to(images)
    tint = torch.rand(len(images), 3, 1, 1, generator=generator).to(images)
    seen = (images + 1) / 2  # 0 to 1
    mean = seen.mean((1, 2, 3), keepdim=True)
    seen = mean + (seen - mean) * (1 + _CONTRAST * (2 * contrast - 1))
    seen = seen * (1 + _LIGHT * (2 * light - 1)) * (1 + _TINT * (2 * tint - 1))
    seen = torch.where(grey < _GREY, seen.mean(1, keepdim=True).expand_as(seen), seen)
    return 2 * seen.clamp(0, 1) - 1
