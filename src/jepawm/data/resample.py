"""Fewer frames per second, and square frames: what recordings go through on the way to a store."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from typing import Literal

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from jepawm.data.poses import pose_differences
from jepawm.data.recording import Recording
from jepawm.errors import UserError

_SLOWEST, _FASTEST = 1e-2, 1e6
"""Frames per second."""
_SLACK = 0.05
"""Part by which the distance of frames may differ from what is said."""
_UNITS = (1, 1e3, 1e6, 1e9)
"""Units in a second: of seconds, milli-, micro- and nanoseconds."""
Fit = Literal["crop", "stretch"]
"""How frames become square: cut out the centre, or stretch."""
Combine = Literal["concat", "sum", "last"]
"""How the actions between two kept frames become one: joined in order, added, or the last alone."""

_MOST_STEPS = 2**31
_LONGEST_SIDE = 2**15
_MOST_PIXELS = 2**27
_MOST_BYTES = 2**35


def frame_step(fps: float | None, wanted: float | None) -> int:
    """Return k: every k-th frame of a source of `fps` is kept to get `wanted` frames per second."""
    if wanted is None:
        return 1
    if fps is None:
        raise UserError(
            f"--fps {wanted:g}: the source does not say its frame rate; leave --fps out"
        )
    ratio = fps / wanted if wanted > 0 else 0.0
    step = round(ratio) if ratio < _MOST_STEPS else 0
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
        rewards=_means(recording.rewards, step),
        state=None if recording.state is None else recording.state[::step],
        frames=lambda: islice(recording.frames(), 0, None, step),
        count_frames=lambda: -(-recording.count_frames() // step),
        others={name: subsample(o, step, combine=combine) for name, o in recording.others.items()},
    )


def require_frame(frame: np.ndarray) -> None:
    """Check that a frame is a picture in colours: uint8 `[height, width, 3]`, neither empty nor huge."""
    shape = frame.shape
    if frame.dtype != np.uint8 or len(shape) != 3 or shape[2] != 3 or 0 in shape:
        raise UserError(
            f"a frame is {frame.dtype} {shape}; expected uint8 (height, width, 3): repair the "
            "recording, or leave the episode out"
        )
    if max(shape) > _LONGEST_SIDE or shape[0] * shape[1] > _MOST_PIXELS:
        raise UserError(f"a frame has {shape[0]} x {shape[1]} pixels, too many; make it smaller")


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
    frames: Iterator[UInt8[np.ndarray, "height width 3"]], num_frames: int, *, size: int, fit: Fit
) -> UInt8[np.ndarray, "_ 3 size size"]:
    """Make all frames of an episode square; `[L, 3, size, size]`, fewer if not all can be decoded."""
    if num_frames * 3 * size**2 > _MOST_BYTES:
        raise UserError(
            f"{num_frames:,} frames of {size} x {size} pixels do not fit into memory; split the "
            "recording, or import it smaller (--image-size)"
        )
    result = np.empty((num_frames, 3, size, size), dtype=np.uint8)
    shapes: set[tuple[int, ...]] = set()
    count = 0
    for frame in frames:
        require_frame(frame)
        shapes.add(frame.shape[:2])
        if count == num_frames:
            raise UserError(f"there are more than {num_frames} frames; copy the recording again")
        result[count] = square_frame(frame, size, fit=fit)
        count += 1
    if len(shapes) > 1:
        listed = ", ".join(f"{height} x {width}" for height, width in sorted(shapes))
        raise UserError(f"frames have several shapes ({listed}); split or resize the recording")
    return result[:count]


def _means(rewards: Float[np.ndarray, "n R"] | None, step: int) -> np.ndarray | None:
    """Return the mean reward `[m, R]` of each `step` actions that become one."""
    if rewards is None:
        return None
    whole = len(rewards) // step * step
    return rewards[:whole].reshape(-1, step, rewards.shape[1]).mean(1)


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


def require_times(
    times: Float[np.ndarray, " L"], fps: float, *, said: str, of: str, units: bool = False
) -> None:
    """Check that frames come as often as something says, by their median distance.

    Args:
        times: times of the frames, in seconds.
        fps: frames per second that are said.
        said: what says so.
        of: what the times are of.
        units: times may also be in milli-, micro- or nanoseconds.
    """
    distance = float(np.median(np.diff(times))) if len(times) > 2 else 0.0
    if not 0 < distance < np.inf:
        return
    if any(abs(distance * fps / unit - 1) < _SLACK for unit in (_UNITS if units else (1,))):
        return
    raise UserError(
        f"{said} says {fps:.6g} frames per second, the timestamps of {of} are {1 / distance:.4g} apart "
        "per second; find out which is right and repair the other, or leave the episode out"
    )


def is_rate(fps: float) -> bool:
    """Return whether something can have been recorded at so many frames per second."""
    return _SLOWEST <= fps <= _FASTEST


def require_rate(fps: float, *, where: object) -> float:
    """Return frames per second at which something can have been recorded; others are refused."""
    if not is_rate(fps):
        raise UserError(
            f"{where}: {fps:g} frames per second is no rate; repair it, or leave the episode out"
        )
    return fps
