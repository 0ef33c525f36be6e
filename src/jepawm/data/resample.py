"""Fewer frames per second, and square frames: what recordings go through on the way to a store."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from typing import Literal

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from jepawm.data.recording import Recording, pose_differences
from jepawm.errors import UserError

Fit = Literal["crop", "stretch"]
"""How frames become square: cut out the centre, or stretch."""
Combine = Literal["concat", "sum", "last"]
"""How the actions between two kept frames become one: joined in order, added, or the last alone."""


def frame_step(fps: float | None, wanted: float | None) -> int:
    """Return k: every k-th frame of a source of `fps` is kept to get `wanted` frames per second."""
    if wanted is None:
        return 1
    if fps is None:
        raise UserError(
            f"--fps {wanted:g}: the source does not say its frame rate; leave --fps out"
        )
    step = round(fps / wanted) if wanted > 0 else 0
    if step < 1 or abs(fps / step - wanted) > 1e-3 * wanted:
        rates = ", ".join(f"{fps / k:.4g}" for k in range(1, 11))
        raise UserError(
            f"--fps {wanted:g} does not divide the {fps:g} frames per second of the source; "
            f"choose among {rates}, ..."
        )
    return step


def subsample(recording: Recording, step: int, *, combine: Combine | None) -> Recording:
    """Keep every `step`-th frame and join the actions between them.

    Actions that are differences of poses are computed anew from the poses that are kept.
    """
    if step == 1:
        return recording
    proprio = None if recording.proprio is None else recording.proprio[::step]
    if recording.pose_actions and proprio is not None:
        actions = pose_differences(proprio)
    else:
        actions = _combined(recording.actions, step, combine=combine)
    return replace(
        recording,
        num_frames=-(-recording.num_frames // step),
        actions=actions,
        proprio=proprio,
        state=None if recording.state is None else recording.state[::step],
        frames=lambda: islice(recording.frames(), 0, None, step),
        count_frames=lambda: -(-recording.count_frames() // step),
    )


def square_frame(
    frame: UInt8[np.ndarray, "height width 3"], size: int, *, fit: Fit
) -> UInt8[np.ndarray, "3 size size"]:
    """Make a frame square and `size` pixels a side, by antialiased bilinear resampling."""
    height, width = frame.shape[:2]
    box = (0, 0, width, height)
    if fit == "crop":
        side = min(height, width)
        left, top = (width - side) // 2, (height - side) // 2
        box = (left, top, left + side, top + side)
    image = Image.fromarray(frame)
    if box != (0, 0, size, size) or image.size != (size, size):
        image = image.resize((size, size), Image.Resampling.BILINEAR, box=box, reducing_gap=2.0)
    return np.asarray(image).transpose(2, 0, 1)


def square_frames(
    frames: Iterator[UInt8[np.ndarray, "height width 3"]], size: int, *, fit: Fit
) -> UInt8[np.ndarray, "L 3 size size"]:
    """Make all frames of an episode square; `[L, 3, size, size]`."""
    result = np.empty((0, 3, size, size), dtype=np.uint8)
    shapes: set[tuple[int, ...]] = set()
    squares = []
    for frame in frames:
        shapes.add(frame.shape[:2])
        squares.append(square_frame(frame, size, fit=fit))
    if len(shapes) > 1:
        listed = ", ".join(f"{height} x {width}" for height, width in sorted(shapes))
        raise UserError(f"frames have several shapes ({listed}); split or resize the recording")
    return np.stack(squares) if squares else result


def _combined(
    actions: Float[np.ndarray, "n a"], step: int, *, combine: Combine | None
) -> Float[np.ndarray, "m b"]:
    if combine is None:
        raise UserError(
            f"every {step}th frame is kept, so {step} actions become one: say how by "
            "--combine-actions concat (joined, loses nothing), sum (actions are differences) or "
            "last (actions are absolute targets)"
        )
    whole = len(actions) // step * step
    blocks = actions[:whole].reshape(-1, step, actions.shape[1])  # [m, step, a]
    if combine == "concat":
        return blocks.reshape(len(blocks), -1)
    return blocks.sum(axis=1) if combine == "sum" else blocks[:, -1]
