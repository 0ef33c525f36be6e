"""A world of two numbers that actions add to, and a model that is wrong about how much they add."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch

from jepawm.agent import PlanningAgent
from jepawm.diagnosis.experience import Stretch
from jepawm.normalizer import Normalizer
from jepawm.planning.cem import CEM
from jepawm.planning.objectives import LatentDistance
from jepawm.protocol import Protocol
from jepawm.types import Latent, Observation, Task

NORMALIZER = Normalizer.from_statistics(action_mean=[0.0, 0.0], action_std=[1.0, 1.0])
PROTOCOL = Protocol(name="tiny", horizon=3, num_action_steps=3, frameskip=2, max_env_steps=6)


class PointWorld:
    """Satisfies `Simulator` and `KnowsPlaces`: a wall stands at the left of x = 0."""

    action_dim = proprio_dim = state_dim = 2
    state_to_pixel = None

    def __init__(self) -> None:
        self.places = self.goals = np.zeros((0, 2))

    def sample_tasks(self, seed: int, *, num_tasks: int) -> list[Task]:
        random = np.random.default_rng(seed)
        starts = random.uniform(1, 2, (num_tasks, 2)).tolist()
        goals = random.uniform(4, 6, (num_tasks, 2)).tolist()
        return [Task(start=tuple(s), goal=tuple(g)) for s, g in zip(starts, goals, strict=True)]

    def reset(self, tasks: Sequence[Task]) -> Observation:
        self.places = np.array([task.start for task in tasks])
        self.goals = np.array([task.goal for task in tasks])
        return self._observe(self.places)

    def goal_observation(self) -> Observation:
        return self._observe(self.goals)

    def step(self, actions: np.ndarray) -> Observation:
        self.places = self.places + actions
        return self._observe(self.places)

    def states(self) -> np.ndarray:
        return self.places.copy()

    def success(self) -> np.ndarray:
        return np.linalg.norm(self.places - self.goals, axis=-1) < 0.5

    def simulate(self, actions: np.ndarray) -> np.ndarray:
        return self.places[:, None, None] + actions.cumsum(2)

    def goal_distance(self, states: np.ndarray) -> np.ndarray:
        return ((states - self.goals[:, None]) ** 2).sum(-1)

    def beside(self, states: np.ndarray) -> dict[str, np.ndarray]:
        return {"wall": states[:, 0] < 0.0}

    def _observe(self, places: np.ndarray) -> Observation:
        pixels = torch.zeros(len(places), 3, 4, 4, dtype=torch.uint8)
        return Observation(pixels=pixels, proprio=torch.from_numpy(places).float())


class PointModel:
    """The latent is the place; every move counts `1 + error` times."""

    window = 2

    def __init__(self, error: float = 0.0) -> None:
        self.error = error

    def encode(self, obs):
        return Latent(tokens=obs.proprio.unsqueeze(-2))

    def predict(self, latents, actions):
        raise NotImplementedError

    def rollout(self, context, actions, *, window=None):
        moves = actions.unflatten(-1, (-1, 2)).sum(-2)  # [B, H, 2]
        moved = ((1 + self.error) * moves).cumsum(1).unsqueeze(-2)
        return Latent(tokens=context.latents.tokens[:, -1:] + moved)


def _stretch(num_stretches: int = 6, num_steps: int = 8) -> Stretch:
    generator = torch.Generator().manual_seed(0)
    actions = torch.randn(num_stretches, num_steps, 4, generator=generator)
    moves = actions.unflatten(-1, (-1, 2)).sum(-2).cumsum(1)
    places = torch.cat([torch.zeros(num_stretches, 1, 2), moves], dim=1)
    return Stretch(latents=Latent(tokens=places.unsqueeze(-2)), actions=actions)


def _agent(model: PointModel | None = None, **fields) -> PlanningAgent:
    settings = {
        "normalizer": NORMALIZER,
        "objective": LatentDistance(),
        "planner": CEM(num_samples=60, num_elites=6, num_iterations=12),
        "protocol": PROTOCOL,
    }
    return PlanningAgent(model or PointModel(), **(settings | fields))


@pytest.fixture
def world() -> PointWorld:
    """Return the world."""
    return PointWorld()


@pytest.fixture
def normalizer() -> Normalizer:
    """Return statistics that change nothing."""
    return NORMALIZER


@pytest.fixture
def make_model() -> type[PointModel]:
    """Return the class of the model, which takes its error."""
    return PointModel


@pytest.fixture
def make_agent() -> Callable[..., PlanningAgent]:
    """Return a function that builds an agent; its model is perfect unless given."""
    return _agent


@pytest.fixture
def make_stretch() -> Callable[..., Stretch]:
    """Return a function that makes real experience of the world, by numbers of stretches and steps."""
    return _stretch
