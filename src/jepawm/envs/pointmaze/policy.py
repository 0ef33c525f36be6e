"""The random behaviour that collects experience on PointMaze: forces that persist for a while.

How long an episode keeps the direction of its force varies between episodes, so that both jitter
in place (what a planner's candidates do) and long ways around the U occur.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from jepawm.contracts import Script
from jepawm.envs.persistence import persistent
from jepawm.envs.pointmaze.tasks import start_goal
from jepawm.errors import UserError, require_range
from jepawm.types import Task


@dataclass(frozen=True, kw_only=True)
class RandomPointMaze:
    """Roll through the maze: starts like those of tasks, forces that persist for a while."""

    std: float = 1.0
    """Standard deviation of an action's components. Actions are stored as they are drawn, though
    the maze clips them to -1 to 1: a planner draws such actions too, and a model has to know that
    more than 1 is no stronger."""
    persistence_low: float = 0.0
    """Lowest correlation of neighbouring actions; each episode draws its own."""
    persistence_high: float = 0.9
    """Highest correlation of neighbouring actions."""

    def __post_init__(self) -> None:
        """Check ranges."""
        persistence = ("persistence_low", "persistence_high")
        require_range(self, persistence, where="data.policy", least=0, most=1)
        require_range(self, ("std",), where="data.policy", least=0)

    def script(
        self, generator: np.random.Generator, *, num_episodes: int, num_steps: int, data_root: Path
    ) -> Script:
        """Draw starts and actions; `data_root` plays no part."""
        del data_root
        if not 0.0 <= self.persistence_low <= self.persistence_high < 1.0:
            raise UserError(
                f"persistence_low = {self.persistence_low} and persistence_high = "
                f"{self.persistence_high} must rise within 0 to 1; change them"
            )
        seeds = generator.integers(0, 2**32, num_episodes)
        tasks = []
        for seed in seeds:
            start = tuple(start_goal(int(seed))[0].tolist())
            tasks.append(Task(start=start, goal=start))
        actions = self._actions(generator, num_episodes=num_episodes, num_steps=num_steps)
        return Script(tasks=tasks, commands=list(actions))

    def _actions(
        self, generator: np.random.Generator, *, num_episodes: int, num_steps: int
    ) -> Float[np.ndarray, "E T 2"]:
        persistence = generator.uniform(
            self.persistence_low, self.persistence_high, (num_episodes, 1)
        )
        noise = generator.standard_normal((num_episodes, num_steps, 2))
        return self.std * persistent(noise, persistence)
