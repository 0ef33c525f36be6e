"""Find the block of Push-T in pictures: the pose whose rendering is nearest to the picture."""

from functools import cache

import numpy as np

from jepawm.envs.pusht.render import CANVAS, render_pusht

_ANGLES = 48
_STARTS = 4


def find_blocks(pictures: np.ndarray, *, agents: np.ndarray) -> np.ndarray:
    """Return poses `[n, 3]` (x, y in units of the world, angle) of blocks in pictures `[n, 3, S, S]`.

    The agent is drawn where it was, at `agents` `[n, 2]`: it is not what is looked for. A correlation
    with the block at 48 angles says where to begin, steps of falling length end at the nearest rendering.
    """
    return np.stack(
        [_refined(one, agent=agent) for one, agent in zip(pictures, agents, strict=True)]
    )


def angle_between(angles: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the absolute difference of angles, at most pi."""
    turned = np.abs(angles - others) % (2 * np.pi)
    return np.minimum(turned, 2 * np.pi - turned)


def _refined(picture: np.ndarray, *, agent: np.ndarray) -> np.ndarray:
    found = [_descend(picture, start, agent=agent) for start in _starts(picture)]
    return min(found, key=lambda one: one[0])[1]


def _starts(picture: np.ndarray) -> list[np.ndarray]:
    """Return the poses whose block correlates best with a picture `[3, S, S]`, one for each angle."""
    size = picture.shape[-1]
    unit = CANVAS / size
    empty, templates, angles = _templates(size)
    change = np.fft.rfft2(picture - empty)
    likeness = np.fft.irfft2(change * templates.conj(), s=(size, size)).sum(1)  # [angles, S, S]
    scored = likeness.reshape(len(angles), -1)
    best = scored.argmax(1)
    order = np.argsort(-scored[np.arange(len(angles)), best])[:_STARTS]
    starts = []
    for index in order:
        row, column = divmod(int(best[index]), size)
        shift = [(one + size // 2) % size - size // 2 for one in (column, row)]
        place = CANVAS / 2 + unit * np.array(shift)
        starts.append(np.array([*place, angles[index]]))
    return starts


@cache
def _templates(size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the empty table, spectra of what a block in the middle changes, and its angles."""
    far = -4.0 * CANVAS
    angles = np.arange(_ANGLES) * 2 * np.pi / _ANGLES
    middle = np.full((_ANGLES, 5), CANVAS / 2)
    middle[:, :2], middle[:, 4] = far, angles
    drawn = render_pusht(middle, size, with_target=False, antialias=True).numpy().astype(float)
    nothing = np.full((1, 5), far)
    blank = render_pusht(nothing, size, with_target=False, antialias=True).numpy().astype(float)
    empty = render_pusht(nothing, size, antialias=True).numpy().astype(float)[0]
    return empty, np.fft.rfft2(drawn - blank), angles


def _descend(
    picture: np.ndarray, pose: np.ndarray, *, agent: np.ndarray
) -> tuple[float, np.ndarray]:
    """Move a pose in steps of falling length while its rendering gets nearer to the picture."""
    step = np.array([8.0, 8.0, 0.13])
    error = _error(picture, pose[None], agent=agent)[0]
    while step[0] > 0.5:
        around = np.concatenate([np.diag(step), -np.diag(step)]) + pose
        errors = _error(picture, around, agent=agent)
        best = int(errors.argmin())
        if errors[best] < error:
            error, pose = errors[best], around[best]
        else:
            step = step / 2
    return float(error), pose


def _error(picture: np.ndarray, poses: np.ndarray, *, agent: np.ndarray) -> np.ndarray:
    states = np.concatenate([np.broadcast_to(agent, (len(poses), 2)), poses], axis=1)
    drawn = render_pusht(states, picture.shape[-1], antialias=True).numpy().astype(float)
    return np.square(drawn - picture).sum((1, 2, 3))
