"""Position codes: fixed sine-cosine tables that are added, rotary tables that turn queries and keys.

A sequence holds, frame by frame, first the condition tokens and then the `grid x grid` patch
tokens, row by row. Rotary codes split a head's channels into a frame, a row and a column part.
"""

import math
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

Positions = Literal["sincos", "rope", "rope_vjepa", "learned"]
"""Position code of a predictor: `sincos` fixed sine-cosine table added to the input; `rope` rotary
in frame, row and column; `rope_vjepa` the released V-JEPA 2 and JEPA-WM rotation, which tiles the
frequencies but turns neighbouring channels (not a true rotation; needed to load those weights);
`learned` a learned table, as DINO-WM uses."""


class Rotation(NamedTuple):
    """How to turn channel pairs of every frame, `[T, n, 1, inner]` each.

    Channel c becomes `own * x[c] + following * x[c + 1] + previous * x[c - 1]`; the axis of size 1
    stands for queries and keys side by side.
    """

    own: Float[Tensor, "T n 1 inner"]
    """Cosines."""
    following: Float[Tensor, "T n 1 inner"]
    """Minus the sines on even channels, 0 on odd ones."""
    previous: Float[Tensor, "T n 1 inner"]
    """The sines on odd channels, 0 on even ones."""


def sincos_table(coordinates: Float[Tensor, " L"], *, dim: int) -> Float[Tensor, "L {dim}"]:
    """Return the sine-cosine code `[L, dim]` of coordinates: all sines, then all cosines."""
    if dim % 2 or dim == 0:
        padded = sincos_table(coordinates, dim=dim + 2 - dim % 2 if dim else 2)
        return padded[:, :dim]
    half = dim // 2
    frequencies = 10000.0 ** (-torch.arange(half, dtype=torch.float64) / half)
    angles = coordinates.double()[:, None] * frequencies  # [L, half]
    return torch.cat([angles.sin(), angles.cos()], dim=1).float()


def frame_grid_sincos(
    *, num_frames: int, grid: tuple[int, int], num_condition: int, dim: int
) -> Float[Tensor, "L {dim}"]:
    """Return the sine-cosine table `[L, dim]` of a whole sequence.

    A quarter of the channels codes the frame, the rest row and column; condition tokens carry the
    frame only.
    """
    frame, row, column, is_patch = _coordinates(num_frames, grid, num_condition)
    row_dim = (dim - dim // 4) // 2
    column_dim = dim - dim // 4 - row_dim
    patch = is_patch[:, None].float()
    return torch.cat(
        [
            sincos_table(frame, dim=dim // 4),
            sincos_table(row, dim=row_dim) * patch,
            sincos_table(column, dim=column_dim) * patch,
        ],
        dim=1,
    )


def grid_sincos(grid: tuple[int, int], *, dim: int) -> Float[Tensor, "N {dim}"]:
    """Return the sine-cosine table `[N, dim]` of one frame: half of the channels code the row."""
    _, row, column, _ = _coordinates(1, grid, 0)
    return torch.cat([sincos_table(row, dim=dim // 2), sincos_table(column, dim=dim // 2)], dim=1)


def resample_table(
    table: Float[Tensor, "n D"], side: int, *, antialias: bool, offset: float
) -> Float[Tensor, "N D"]:
    """Resample a learned table `[n, D]` of a square grid to `side` rows and columns, bicubic.

    With an offset the scale factor is `(side + offset) / old side`, not the ratio of the sides:
    DINOv2 was published so (offset 0.1), and its features depend on it. Without, the sides count.
    """
    old = math.isqrt(len(table))
    if old == side:
        return table
    maps = table.float().view(1, old, old, -1).permute(0, 3, 1, 2)  # [1, D, old, old]
    if offset:
        scale = (side + offset) / old
        maps = F.interpolate(maps, scale_factor=(scale, scale), mode="bicubic", antialias=antialias)
    else:
        maps = F.interpolate(maps, size=(side, side), mode="bicubic", antialias=antialias)
    return maps.flatten(2)[0].T.to(table.dtype)


def resample_clip_table(
    table: Float[Tensor, "n D"], side: int, *, num_steps: int
) -> Float[Tensor, "N D"]:
    """Resample a table of clips, `num_steps` in time by a square grid, to one step and `side`.

    Trilinear, as V-JEPA 1 does it: the one step is in the middle of the clip.
    """
    old = math.isqrt(len(table) // num_steps)
    maps = table.float().view(1, num_steps, old, old, -1).permute(0, 4, 1, 2, 3)
    maps = F.interpolate(maps, size=(1, side, side), mode="trilinear", align_corners=False)
    return maps.flatten(2)[0].T.to(table.dtype)


def rotary_angles(
    *,
    num_frames: int,
    grid: tuple[int, int],
    num_condition: int,
    head_dim: int,
    tiled: bool,
    scale: float = 1.0,
) -> Float[Tensor, "L h"]:
    """Return the angles of the 3-D rotary code for every sequence position and channel, float64.

    Channels `[0, r)` turn with the frame, `[r, 2r)` with the row, `[2r, 3r)` with the column,
    `r = 2 floor(floor(h / 3) / 2)`; what remains stays. Condition tokens turn with the frame only.

    Args:
        num_frames: frames in the window; numbering restarts at 0 in each window.
        grid: rows and columns of patches.
        num_condition: condition tokens before the patches of each frame.
        head_dim: head width `h`.
        tiled: frequencies tiled over the channels (V-JEPA 2) instead of one per channel pair.
        scale: factor on row and column positions.
    """
    frame, row, column, is_patch = _coordinates(num_frames, grid, num_condition)
    width = 2 * (head_dim // 3 // 2)
    patch = is_patch.double()
    angles = torch.zeros(len(frame), head_dim, dtype=torch.float64)
    for part, position in enumerate((frame, row * scale * patch, column * scale * patch)):
        frequencies = _frequencies(width, tiled=tiled)
        angles[:, part * width : (part + 1) * width] = position.double()[:, None] * frequencies
    return angles


def rotation_by(
    angles: Float[Tensor, "L h"], *, num_frames: int, num_heads: int, device: torch.device
) -> Rotation:
    """Return the rotation of `num_frames` frames, the same for every head, float32.

    Angles are rounded as late as possible: float64 until cosine and sine are taken.
    """
    even = torch.arange(angles.shape[-1]) % 2 == 0
    sin = angles.sin()
    parts = (angles.cos(), -sin * even, sin * ~even)
    own, following, previous = (
        part.float().repeat(1, num_heads).unflatten(0, (num_frames, -1)).unsqueeze(2).to(device)
        for part in parts
    )
    return Rotation(own=own, following=following, previous=previous)


def rotate(x: Float[Tensor, "*b inner"], rotation: Rotation) -> Float[Tensor, "*c inner"]:
    """Turn neighbouring channel pairs of `x`, whose leading axes the rotation fits."""
    own, following, previous = (part.to(x.dtype) for part in rotation)
    turned = x * own
    turned[..., :-1].addcmul_(x[..., 1:], following[..., :-1])
    turned[..., 1:].addcmul_(x[..., :-1], previous[..., 1:])
    return turned


def _frequencies(width: int, *, tiled: bool) -> Tensor:
    half = width // 2
    omega = 10000.0 ** (-torch.arange(half, dtype=torch.float64) / max(half, 1))
    return omega.repeat(2) if tiled else omega.repeat_interleave(2)


def _coordinates(
    num_frames: int, grid: tuple[int, int], num_condition: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return frame, row, column and whether it is a patch, `[L]` each."""
    rows, columns = grid
    per_frame = num_condition + rows * columns
    index = torch.arange(num_frames * per_frame)
    frame = index // per_frame
    patch = index % per_frame - num_condition
    is_patch = patch >= 0
    patch = patch.clamp(min=0)
    return frame.float(), (patch // columns).float(), (patch % columns).float(), is_patch
