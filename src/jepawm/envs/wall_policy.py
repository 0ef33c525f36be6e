"""The random behaviour that collects experience on Wall: headings that persist for a while.

Its action and state statistics are those of the paper's data set. An action of standard deviation
0.75 in each component has a length of about 1; how straight an episode runs varies between
episodes, so that both jitter in place and long ways through the door occur.
"""

import numpy as np
from jaxtyping import Float

from jepawm.envs.wall_dynamics import DEFAULT_GEOMETRY, WallGeometry
from jepawm.envs.wall_tasks import DEFAULT_WALL_X

_MEAN_LENGTH = 1.0
_LENGTH_STD = 0.4
_LENGTH_RANGE = (0.2, 1.8)
_MARGIN = 0.5  # pixels between a start and the limits of its room


def random_wall_actions(
    generator: np.random.Generator,
    *,
    num_episodes: int,
    num_steps: int,
    turn_std_range: tuple[float, float] = (0.5, 1.5),
) -> Float[np.ndarray, "E T 2"]:
    """Draw float32 actions `[E, T, 2]` of mean 0: headings walk randomly, lengths are about 1.

    The heading's change per step has a standard deviation that is drawn for each episode,
    log-uniformly from `turn_std_range`, in radians. Straighter episodes pile up at the walls.
    """
    low, high = np.log(turn_std_range)
    turn_std = np.exp(generator.uniform(low, high, (num_episodes, 1)))
    turns = turn_std * generator.standard_normal((num_episodes, num_steps))
    first = generator.uniform(0.0, 2 * np.pi, (num_episodes, 1))
    heading = first + turns.cumsum(1)
    lengths = _truncated_normal(generator, (num_episodes, num_steps))
    actions = np.stack([lengths * np.cos(heading), lengths * np.sin(heading)], axis=-1)
    return actions.astype(np.float32)  # as stored, so that an episode replays bit for bit


def random_wall_starts(
    generator: np.random.Generator,
    *,
    num_episodes: int,
    wall_x: float = DEFAULT_WALL_X,
    geometry: WallGeometry = DEFAULT_GEOMETRY,
) -> Float[np.ndarray, "E 2"]:
    """Draw starts `[E, 2]`, in pixels, uniform over the free floor of both rooms."""
    low, high = geometry.low + _MARGIN, geometry.high - _MARGIN
    reach = geometry.wall_half_width + _MARGIN
    left_width = wall_x - reach - low
    right_width = high - wall_x - reach
    along = generator.uniform(0.0, left_width + right_width, num_episodes)
    jump = np.where(along > left_width, 2 * reach, 0.0)  # over the wall
    return np.stack([low + along + jump, generator.uniform(low, high, num_episodes)], axis=-1)


def _truncated_normal(
    generator: np.random.Generator, shape: tuple[int, int]
) -> Float[np.ndarray, "E T"]:
    """Draw lengths, again and again where one falls outside its range."""
    lengths = generator.normal(_MEAN_LENGTH, _LENGTH_STD, shape)
    low, high = _LENGTH_RANGE
    while (outside := (lengths < low) | (lengths > high)).any():
        lengths[outside] = generator.normal(_MEAN_LENGTH, _LENGTH_STD, int(outside.sum()))
    return lengths
