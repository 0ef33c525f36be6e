"""The random behaviour that collects experience on Wall: Gaussian actions that persist for a while.

Mean and standard deviation of the actions are those of the paper's data set. How long an episode
keeps its direction varies between episodes, so that both jitter in place and long ways occur, and
a part of the episodes starts around the door, which a random walk seldom finds.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from jepawm.contracts import Script
from jepawm.envs.persistence import persistent
from jepawm.envs.wall.dynamics import DEFAULT_GEOMETRY, WallGeometry
from jepawm.envs.wall.tasks import DEFAULT_DOOR_Y, DEFAULT_WALL_X
from jepawm.errors import require_range
from jepawm.types import Task

_ACTION_STD = 0.75
_MARGIN = 0.5  # pixels between a start and the limits of its room
_DOOR_REACH = 12.0  # pixels around the door that count as near


@dataclass(frozen=True, kw_only=True)
class RandomWall:
    """Wander through Wall: starts anywhere or at the door, headings that persist for a while."""

    persistence_low: float = 0.0
    """Lowest correlation of neighbouring actions; each episode draws its own."""
    persistence_high: float = 0.9
    """Highest correlation of neighbouring actions."""
    near_door: float = 0.5
    """Part of the episodes that starts around the door."""

    def __post_init__(self) -> None:
        """Check ranges."""
        persistence = ("persistence_low", "persistence_high")
        require_range(self, persistence, where="data.policy", least=0, most=1)
        require_range(self, ("near_door",), where="data.policy", least=0, most=1)

    def script(
        self, generator: np.random.Generator, *, num_episodes: int, num_steps: int, data_root: Path
    ) -> Script:
        """Draw starts and actions; `data_root` plays no part."""
        del data_root
        starts = random_wall_starts(generator, num_episodes=num_episodes, near_door=self.near_door)
        actions = random_wall_actions(
            generator,
            num_episodes=num_episodes,
            num_steps=num_steps,
            persistence_range=(self.persistence_low, self.persistence_high),
        )
        tasks = [Task(start=tuple(start), goal=tuple(start)) for start in starts.tolist()]
        return Script(tasks=tasks, commands=list(actions))


def random_wall_actions(
    generator: np.random.Generator,
    *,
    num_episodes: int,
    num_steps: int,
    persistence_range: tuple[float, float] = (0.0, 0.9),
) -> Float[np.ndarray, "E T 2"]:
    """Draw float32 actions `[E, T, 2]`, normal with mean 0 and standard deviation 0.75.

    Actions of one episode are correlated in time: the correlation of neighbours is drawn for each
    episode, uniformly from `persistence_range`; 0 is what a planner draws, near 1 goes straight.
    """
    persistence = generator.uniform(*persistence_range, (num_episodes, 1))
    noise = generator.standard_normal((num_episodes, num_steps, 2))
    actions = _ACTION_STD * persistent(noise, persistence)
    return actions.astype(np.float32)  # as stored: an episode replays bit for bit


def random_wall_starts(
    generator: np.random.Generator,
    *,
    num_episodes: int,
    wall_x: float = DEFAULT_WALL_X,
    door_y: float = DEFAULT_DOOR_Y,
    near_door: float = 0.5,
    geometry: WallGeometry = DEFAULT_GEOMETRY,
) -> Float[np.ndarray, "E 2"]:
    """Draw starts `[E, 2]`, in pixels: uniform over the floor of both rooms, or near the door.

    A part `near_door` of the episodes starts within 12 pixels of the wall, at the height of the
    door; inside the door too.
    """
    low, high = geometry.low + _MARGIN, geometry.high - _MARGIN
    reach = geometry.wall_half_width + _MARGIN
    left_width = wall_x - reach - low
    right_width = high - wall_x - reach
    along = generator.uniform(0.0, left_width + right_width, num_episodes)
    jump = np.where(along > left_width, 2 * reach, 0.0)  # over the wall
    anywhere = np.stack([low + along + jump, generator.uniform(low, high, num_episodes)], axis=-1)
    height = geometry.door_half_height - _MARGIN
    at_door = np.stack(
        [
            wall_x + generator.uniform(-_DOOR_REACH, _DOOR_REACH, num_episodes),
            door_y + generator.uniform(-height, height, num_episodes),
        ],
        axis=-1,
    )
    chosen = generator.uniform(size=(num_episodes, 1)) < near_door
    return np.where(chosen, at_door.clip(low, high), anywhere)
