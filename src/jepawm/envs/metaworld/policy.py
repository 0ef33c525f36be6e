"""How experience is collected in Metaworld: the scripted expert with noise, then random motion.

Each episode has a layout of its own. The expert acts up to a moment that is drawn for each episode,
so that random motion (what a planner's candidates do) starts everywhere on the expert's way.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from jepawm.contracts import Script
from jepawm.envs.metaworld.env import metaworld_task
from jepawm.envs.metaworld.simulator import ACTION_DIM, MetaworldSimulator
from jepawm.envs.persistence import persistent
from jepawm.errors import UserError, require_range
from jepawm.types import Task


def reach_wall() -> "MetaworldExplorer":
    """Return the policy of `reach-wall`, where a low wall stands between hand and goal."""
    return MetaworldExplorer(task="reach-wall")


@dataclass(frozen=True, kw_only=True)
class MetaworldExplorer:
    """Follow the scripted expert with noise, then move at random."""

    task: str = "reach"
    """Metaworld's task, the environment's."""
    expert_fraction: float = 1.0
    """The expert acts for a random part of the episode, at most this part of it."""
    noise: float = 0.5
    """Standard deviation of what is added to the expert's actions; each episode draws its own below."""
    std: float = 1.0
    """Standard deviation of random actions, before they are clipped to -1 to 1."""
    persistence_high: float = 0.95
    """Highest correlation of the noise of neighbouring steps; each episode draws its own."""

    def __post_init__(self) -> None:
        """Check ranges."""
        parts = ("expert_fraction", "persistence_high")
        require_range(self, parts, where="data.policy", least=0, most=1)
        require_range(self, ("noise", "std"), where="data.policy", least=0)

    def script(
        self, generator: np.random.Generator, *, num_episodes: int, num_steps: int, data_root: Path
    ) -> Script:
        """Draw layouts and actions; `data_root` plays no part."""
        del data_root
        if not (0.0 <= self.persistence_high < 1.0 and 0.0 <= self.expert_fraction <= 1.0):
            raise UserError(
                f"persistence_high = {self.persistence_high} and expert_fraction = "
                f"{self.expert_fraction} must be between 0 and 1; change them"
            )
        simulator = MetaworldSimulator(self.task)
        episodes = [
            self._episode(simulator, generator, num_steps=num_steps) for _ in range(num_episodes)
        ]
        return Script(
            tasks=[task for task, _ in episodes], commands=[actions for _, actions in episodes]
        )

    def _episode(
        self, simulator: MetaworldSimulator, generator: np.random.Generator, *, num_steps: int
    ) -> tuple[Task, Float[np.ndarray, "T 4"]]:
        layout = simulator.draw_layout(int(generator.integers(2**32)))
        scene = simulator.arrange(layout)
        persistence = np.array([[generator.uniform(0.0, self.persistence_high)]])
        shape = (1, num_steps, ACTION_DIM)
        wander = persistent(generator.standard_normal(shape), persistence)[0]  # [T, 4]
        num_expert = round(generator.uniform(0.0, self.expert_fraction) * num_steps)
        noise = generator.uniform(0.0, self.noise) * wander[:num_expert]
        guided, _ = simulator.expert(scene, noise=noise)
        random = (self.std * wander[num_expert:]).clip(-1.0, 1.0)
        task = metaworld_task(layout, start=scene.start, goal=scene.start)
        return task, np.concatenate([guided, random])
