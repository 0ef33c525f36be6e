"""A linear point mass that satisfies `Simulator`, and a world model that knows it exactly."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from jepawm.agent import PlanningAgent
from jepawm.normalizer import Normalizer
from jepawm.planning.cem import CEM
from jepawm.planning.objectives import LatentDistance
from jepawm.protocol import PROTOCOLS
from jepawm.types import Latent, Observation, Task

NORMALIZER = Normalizer.from_statistics(action_mean=[0.05, -0.05], action_std=[0.3, 0.4])


class PointMassEnv:
    """The position moves by each action; the goal is reached within 0.5."""

    action_dim = 2
    proprio_dim = 2
    state_dim = 2
    state_to_pixel = None

    def __init__(self) -> None:
        self._positions = np.zeros((0, 2))
        self._goals = np.zeros((0, 2))

    def sample_tasks(self, seed: int, *, num_tasks: int) -> list[Task]:
        random = np.random.default_rng(seed)
        starts = random.uniform(-1, 1, (num_tasks, 2)).tolist()
        goals = random.uniform(3, 5, (num_tasks, 2)).tolist()
        return [
            Task(start=tuple(start), goal=tuple(goal), parameters={"mass": 1.0})
            for start, goal in zip(starts, goals, strict=True)
        ]

    def reset(self, tasks: Sequence[Task]) -> Observation:
        self._positions = np.array([task.start for task in tasks])
        self._goals = np.array([task.goal for task in tasks])
        return self._observe(self._positions)

    def goal_observation(self) -> Observation:
        return self._observe(self._goals)

    def step(self, actions: np.ndarray) -> Observation:
        self._positions = self._positions + actions
        return self._observe(self._positions)

    def states(self) -> np.ndarray:
        return self._positions.copy()

    def success(self) -> np.ndarray:
        return np.linalg.norm(self._positions - self._goals, axis=-1) < 0.5

    def simulate(self, actions: np.ndarray) -> np.ndarray:
        return self._positions[:, None, None] + actions.cumsum(2)

    def goal_distance(self, states: np.ndarray) -> np.ndarray:
        return ((states - self._goals[:, None]) ** 2).sum(-1)

    def _observe(self, positions: np.ndarray) -> Observation:
        pixels = torch.zeros(len(positions), 3, 4, 4, dtype=torch.uint8)
        pixels += torch.from_numpy(positions[:, 0] * 10).to(torch.uint8)[:, None, None, None]
        return Observation(pixels=pixels, proprio=torch.from_numpy(positions).float())


class PointMassModel:
    """The latent is the position; `error` scales its idea of each move."""

    window = 2

    def __init__(self, error: float = 0.0) -> None:
        self.error = error

    def encode(self, obs):
        return Latent(tokens=obs.proprio.unsqueeze(-2))

    def predict(self, latents, actions):
        raise NotImplementedError

    def rollout(self, context, actions, *, window=None):
        moves = NORMALIZER.unnormalize_action(actions).unflatten(-1, (-1, 2)).sum(-2)
        moved = ((1 + self.error) * moves).cumsum(1).unsqueeze(-2)
        return Latent(tokens=context.latents.tokens[:, -1:] + moved)


def _agent(model=None, **fields) -> PlanningAgent:
    settings = {
        "normalizer": NORMALIZER,
        "objective": LatentDistance(),
        "planner": CEM(num_samples=60, num_elites=6, num_iterations=12),
        "protocol": PROTOCOLS["paper"],
    }
    return PlanningAgent(model or PointMassModel(), **(settings | fields))


@pytest.fixture
def env() -> PointMassEnv:
    return PointMassEnv()


@pytest.fixture
def make_agent():
    """Return a function that builds an agent; its model is perfect unless given."""
    return _agent


@pytest.fixture
def make_model():
    """Return the class of the world model, which takes its error."""
    return PointMassModel
