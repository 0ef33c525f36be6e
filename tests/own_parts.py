"""Own parts of each kind, as a user would write them; tests copy this file and install it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import nn

import jepawm
from jepawm.contracts import Script
from jepawm.data.exporting import ExportOptions, stored_episodes
from jepawm.data.recording import Episode, Format, ReadOptions, Recording, Source
from jepawm.training.losses import LossConfig
from jepawm.training.optim import OptimConfig
from jepawm.training.train import LoopConfig
from jepawm.types import Plan, Task


class Net(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim, self.num_tokens, self.grid = dim, 1, (1, 1)
        self.net = nn.Sequential(nn.AdaptiveAvgPool2d(8), nn.Flatten(), nn.Linear(192, dim))

    def forward(self, pixels):
        tokens = self.net(pixels.reshape(-1, *pixels.shape[-3:]).float() / 255)
        return tokens.reshape(*pixels.shape[:-3], 1, self.dim)


@dataclass(frozen=True, kw_only=True)
class OwnNet:
    dim: int = 8
    """Width of the token."""

    def build(self) -> nn.Module:
        return Net(self.dim)


@dataclass(frozen=True, kw_only=True)
class LastDistance:
    weight: float = 1.0
    """Factor."""

    def __call__(self, predicted, goal, actions):
        return self.weight * (predicted.tokens[:, :, -1] - goal.tokens[:, None]).square().mean(
            (-2, -1)
        )


@dataclass(frozen=True, kw_only=True)
class Shooting:
    num_samples: int = 8
    """Candidates, of which the best is the plan."""
    needs_gradients: ClassVar[bool] = False

    def plan(self, cost, init, *, bounds, generator) -> Plan:
        shape = (len(init), self.num_samples, *init.shape[1:])
        candidates = init[:, None] + torch.randn(shape, generator=generator)
        candidates[:, 0] = init
        if bounds is not None:
            candidates = candidates.clamp(*bounds)
        costs = cost(candidates)
        best = costs.argmin(1)
        rows = torch.arange(len(init))
        lowest = costs[rows, best]
        return Plan(actions=candidates[rows, best], cost=lowest, history=lowest[None])


class Room:
    """A dot in a square room; it is all that a robot could offer: no states, no proprioception."""

    action_dim, proprio_dim = 2, 0

    def __init__(self, image_size: int) -> None:
        self._size = image_size

    def sample_tasks(self, seed: int, *, num_tasks: int) -> list[Task]:
        places = np.random.default_rng(seed).uniform(0.1, 0.4, (num_tasks, 2, 2))
        places[:, 1] += 0.5
        return [Task(start=tuple(start), goal=tuple(goal)) for start, goal in places.tolist()]

    def reset(self, tasks: Sequence[Task]) -> jepawm.Observation:
        self._places = np.array([task.start for task in tasks])
        self._goals = np.array([task.goal for task in tasks])
        return self._draw(self._places)

    def goal_observation(self) -> jepawm.Observation:
        return self._draw(self._goals)

    def step(self, actions: np.ndarray) -> jepawm.Observation:
        self._places = (self._places + 0.05 * actions).clip(0, 1)
        return self._draw(self._places)

    def success(self) -> np.ndarray:
        return np.linalg.norm(self._places - self._goals, axis=-1) < 0.2

    def _draw(self, places: np.ndarray) -> jepawm.Observation:
        axis = np.linspace(0, 1, self._size)
        x, y = places[:, 0, None, None], places[:, 1, None, None]
        dots = np.exp(-((axis - x) ** 2 + (axis[:, None] - y) ** 2) / 0.02)
        pixels = np.broadcast_to(255 * dots[:, None], (len(places), 3, self._size, self._size))
        return jepawm.Observation(pixels=torch.from_numpy(pixels.astype(np.uint8)))


class Robot(Room):
    """The room as a robot knows it: tasks hold numbers of starts and goals, and no states."""

    def sample_tasks(self, seed: int, *, num_tasks: int) -> list[Task]:
        return [
            Task(start=(), goal=(), parameters={"seed": seed, "number": index})
            for index in range(num_tasks)
        ]

    def reset(self, tasks: Sequence[Task]) -> jepawm.Observation:
        known = [one.parameters for one in tasks if one.parameters]
        if not known:  # starts of a collection
            return super().reset(tasks)
        rooms = [super(Robot, self).sample_tasks(int(one["seed"]), num_tasks=99) for one in known]
        return super().reset(
            [room[int(one["number"])] for room, one in zip(rooms, known, strict=True)]
        )


class ExactRoom(Room):
    """The room with exact states and known dynamics, which the oracle needs."""

    state_dim, state_to_pixel = 2, None

    def states(self) -> np.ndarray:
        return self._places.copy()

    def simulate(self, actions: np.ndarray) -> np.ndarray:
        places, found = self._places[:, None], []
        for t in range(actions.shape[2]):
            places = (places + 0.05 * actions[:, :, t]).clip(0, 1)
            found.append(places)
        return np.stack(found, axis=2)

    def goal_distance(self, states: np.ndarray) -> np.ndarray:
        return ((states - self._goals[:, None]) ** 2).sum(-1)


@dataclass(frozen=True, kw_only=True)
class Wander:
    std: float = 1.0
    """Standard deviation of the actions."""

    def script(
        self, generator: np.random.Generator, *, num_episodes: int, num_steps: int, data_root: Path
    ) -> Script:
        starts = generator.uniform(0, 1, (num_episodes, 2)).tolist()
        actions = generator.normal(0, self.std, (num_episodes, num_steps, 2))
        tasks = [Task(start=tuple(start), goal=tuple(start)) for start in starts]
        return Script(tasks=tasks, commands=list(actions.astype(np.float32)))


def _read(file: Path) -> Recording:
    rows = np.loadtxt(file, ndmin=2)
    frames = [np.full((8, 8, 3), grey, np.uint8) for grey in rows[:, 0]]
    return Recording(
        num_frames=len(frames),
        actions=rows[:, 1:].astype(np.float32),
        frames=lambda: iter(frames),
        count_frames=lambda: len(frames),
    )


def _open(path: Path, options: ReadOptions) -> Source:
    files = sorted(path.glob("*.room.txt"))
    return Source(
        format="own_text",
        path=path,
        environment="own_room",
        fps=10.0,
        cameras=["grey"],
        camera="grey",
        episodes=[Episode(name=one.name, file=one, read=partial(_read, one)) for one in files],
        files=files,
    )


TEXT = Format(
    summary="text files: the grey of each frame, and the action",
    recognises=lambda path: any(path.glob("*.room.txt")),
    open=_open,
)


def write_text(store, out: Path, *, options: ExportOptions) -> None:
    out.mkdir()
    for one in stored_episodes(store):
        rows = np.column_stack([one.frames.mean((1, 2, 3)).round(), one.actions])
        np.savetxt(out / f"{one.index:03d}.room.txt", rows)


RECIPE = jepawm.Experiment(
    name="own_recipe",
    env="own_room",
    encoder=OwnNet(),
    predictor=jepawm.PredictorConfig(window=2, depth=1, num_heads=2, visual_dim=16),
    loss=LossConfig(target_gradient="all", regularizer="vicreg", inverse_dynamics_weight=0.5),
    optim=OptimConfig(num_steps=6, batch_size=8, learning_rate=1e-3, warmup_steps=2),
    loop=LoopConfig(log_every=2, validate_every=6, save_every=2),
    data=jepawm.DataConfig(num_episodes=12, episode_steps=20, image_size=16, policy=Wander()),
    objective=LastDistance(),
    planner=Shooting(),
)
