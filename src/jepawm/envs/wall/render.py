"""Pictures of the Wall environment: 65 pixels native, other sizes resized as the paper does.

White floor, black walls and border lines, and a red dot: a Gaussian whose highest pixel is 1,
subtracted from green and blue. Everything is vectorised over frames.
"""

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor
from torch.nn import functional

from jepawm.envs.wall.dynamics import DEFAULT_GEOMETRY, WallGeometry, WallLayout

_CHUNK = 256  # frames rendered at once: their float copies stay in the processor's cache
_SMALLEST_EXPONENT = -30.0  # exp(-30) * 255 is far below one level; no subnormal numbers arise


def render_wall(
    positions: Float[np.ndarray, "*b 2"],
    image_size: int,
    *,
    layout: WallLayout,
    geometry: WallGeometry = DEFAULT_GEOMETRY,
) -> UInt8[Tensor, "*b 3 height width"]:
    """Draw dots at `positions` `[*b, 2]`; returns uint8 images `[*b, 3, image_size, image_size]`.

    Sizes other than the native one are resized from the native uint8 image, bilinear with
    antialiasing and rounding.
    """
    batch = positions.shape[:-1]
    layouts, index = _distinct_layouts(layout, batch)
    floor = _floor(layouts, geometry=geometry)  # [L, Y, X]
    resize = _resize_weights(geometry.world_size, image_size)
    red = _to_levels(_resize(255.0 * floor, resize))  # [L, S, S]
    flat = torch.from_numpy(positions.reshape(-1, 2).astype(np.float64))
    frames = torch.empty(len(flat), 3, image_size, image_size, dtype=torch.uint8)
    for start in range(0, len(flat), _CHUNK):
        rows = slice(start, start + _CHUNK)
        native = _levels_without_dot(flat[rows], geometry=geometry)
        native *= floor[index[rows]]
        frames[rows, 0] = red[index[rows]]
        frames[rows, 1:] = _to_levels(_resize(native, resize)).unsqueeze(1)
    return frames.reshape(*batch, 3, image_size, image_size)


def _distinct_layouts(
    layout: WallLayout, batch: tuple[int, ...]
) -> tuple[Float[np.ndarray, "L 2"], Int[Tensor, " F"]]:
    """Return the different (wall, door) pairs and which of them each of the `F` frames has."""
    wall_x = np.broadcast_to(layout.wall_x, batch).reshape(-1)
    door_y = np.broadcast_to(layout.door_y, batch).reshape(-1)
    pairs, index = np.unique(np.stack([wall_x, door_y], axis=1), axis=0, return_inverse=True)
    return pairs, torch.from_numpy(index.reshape(-1))


def _floor(
    layouts: Float[np.ndarray, "L 2"], *, geometry: WallGeometry
) -> Float[Tensor, "L height width"]:
    """Return 1 on the floor and 0 on wall and border pixels of each layout."""
    pixel = np.arange(geometry.world_size)
    wall_x, door_y = layouts[:, :1], layouts[:, 1:]
    in_wall: Bool[np.ndarray, "L X"] = np.abs(pixel - wall_x) <= geometry.wall_half_width
    in_door: Bool[np.ndarray, "L Y"] = np.abs(pixel - door_y) <= geometry.door_half_height
    line: Bool[np.ndarray, " X"] = (pixel == geometry.low) | (pixel == geometry.high)
    black = ~in_door[:, :, None] & in_wall[:, None, :]
    black |= line[:, None] | line[None, :]
    return torch.from_numpy(~black).float()


def _levels_without_dot(
    positions: Float[Tensor, "F 2"], *, geometry: WallGeometry
) -> Float[Tensor, "F height width"]:
    """Return 255 minus the whole levels of the dot, as floats."""
    pixel = torch.arange(geometry.world_size)
    exponent = -((pixel - positions[..., None]) ** 2) / (2 * geometry.dot_std**2)  # [F, 2, X]
    exponent -= exponent.amax(-1, keepdim=True)  # the highest pixel becomes 1
    gaussian = exponent.exp().masked_fill_(exponent < _SMALLEST_EXPONENT, 0.0)
    across, down = gaussian.float().unbind(1)
    dot = down[:, :, None] * across[:, None, :]
    return dot.mul_(255.0).floor_().neg_().add_(255.0)


def _resize_weights(native: int, image_size: int) -> Float[Tensor, "S native"] | None:
    """Return the weights of a bilinear antialiased resize along one axis; None if it is none."""
    if native == image_size:
        return None
    unit = torch.eye(native)[None, None]
    weights = functional.interpolate(
        unit, size=(image_size, native), mode="bilinear", align_corners=False, antialias=True
    )
    return weights[0, 0]


def _resize(
    images: Float[Tensor, "F height width"], weights: Float[Tensor, "S native"] | None
) -> Float[Tensor, "F S S"]:
    """Resize both axes of square images."""
    if weights is None:
        return images
    return weights @ (images @ weights.T)


def _to_levels(images: Float[Tensor, "F S S"]) -> UInt8[Tensor, "F S S"]:
    """Round to uint8."""
    return images.round_().clamp_(0, 255).to(torch.uint8)
