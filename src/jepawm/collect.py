"""Collect episodes: roll given actions through many copies of an environment into a store."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, cast

import numpy as np
import torch
from jaxtyping import Float
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from jepawm.data.episodes import EpisodeStore, open_store
from jepawm.data.writer import EpisodeWriter
from jepawm.envs import ENVIRONMENTS
from jepawm.errors import UserError
from jepawm.protocols import BatchedEnv, Task
from jepawm.registry import Registry

_CHUNK = 128
"""Episodes rolled at once; 128 episodes of 51 frames of 64 pixels take 80 MB of memory."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Script:
    """What to do in each episode of a collection."""

    tasks: list[Task]
    """Start and layout of each episode `[E]`; goals play no part."""
    actions: Float[np.ndarray, "E T a"]
    """Actions `[E, T, a]`, environment units."""


class CollectionPolicy(Protocol):
    """Decide starts and actions of a whole collection."""

    def __call__(
        self, generator: np.random.Generator, *, num_episodes: int, num_steps: int
    ) -> Script:
        """Draw the script of `num_episodes` episodes of `num_steps` steps."""
        ...


POLICIES = Registry("collection policy", {"wall": "jepawm.collect:random_wall"})
"""How each environment is explored, by the name of the environment."""


def collect_environment(
    name: str,
    *,
    path: Path,
    num_episodes: int = 1920,
    num_steps: int = 50,
    image_size: int = 64,
    seed: int,
    console: Console | None = None,
) -> EpisodeStore:
    """Collect episodes of an environment by its own policy; the same seed gives the same bytes.

    Args:
        name: name of the environment.
        path: folder of the store to create.
        num_episodes: number of episodes.
        num_steps: environment steps of each, one less than its frames.
        image_size: height and width of the frames in pixels.
        seed: seed of starts and actions.
        console: where progress is shown; None means stderr.

    Raises:
        UserError: if there is no such environment, a number is out of range, `path` exists, or the
            disk is full.
    """
    build = cast(Callable[..., BatchedEnv], ENVIRONMENTS.get(name))
    policy = cast(CollectionPolicy, POLICIES.get(name))
    for field, value, lowest in (
        ("num_episodes", num_episodes, 1),
        ("num_steps", num_steps, 1),
        ("seed", seed, 0),
    ):
        if value < lowest:
            raise UserError(f"{field} = {value} is too small; it must be at least {lowest}")
    generator = np.random.default_rng(seed)
    return collect(
        build(image_size=image_size),
        policy(generator, num_episodes=num_episodes, num_steps=num_steps),
        path=path,
        environment=name,
        seed=seed,
        settings={"policy": name, "num_episodes": num_episodes, "num_steps": num_steps},
        console=console,
    )


def collect(
    env: BatchedEnv,
    script: Script,
    *,
    path: Path,
    environment: str,
    seed: int | None,
    settings: Mapping[str, object],
    console: Console | None = None,
) -> EpisodeStore:
    """Roll a script through the environment in chunks, in lockstep, and store the episodes.

    Actions are rounded to float32 before they are executed, so that the stored actions replay to
    the stored states exactly.

    Args:
        env: environment; its number of copies changes.
        script: starts and actions.
        path: folder of the store to create.
        environment: name of the environment for the manifest.
        seed: seed that made the script, for the manifest.
        settings: how the script was made, for the manifest.
        console: where progress is shown; None means stderr.
    """
    actions = script.actions.astype(np.float32)
    num_episodes, num_steps, _ = actions.shape
    if len(script.tasks) != num_episodes:
        raise UserError(f"the script has {len(script.tasks)} starts for {num_episodes} episodes")
    image_size = env.reset(script.tasks[:1]).pixels.shape[-1]
    writer = EpisodeWriter(
        path,
        environment=environment,
        image_size=image_size,
        settings=settings,
        seed=seed,
        expected_frames=num_episodes * (num_steps + 1),
    )
    with _one_thread(), _progress(console) as progress, writer:
        bar = progress.add_task(f"collecting {environment}", total=num_episodes)
        for first in range(0, num_episodes, _CHUNK):
            chunk = slice(first, first + _CHUNK)
            _roll(env, script.tasks[chunk], actions=actions[chunk], writer=writer)
            progress.update(bar, completed=min(first + _CHUNK, num_episodes))
    return open_store(path)


def random_wall(generator: np.random.Generator, *, num_episodes: int, num_steps: int) -> Script:
    """Wander through Wall: starts anywhere on the floor, headings that persist for a while."""
    from jepawm.envs.wall_policy import random_wall_actions, random_wall_starts

    starts = random_wall_starts(generator, num_episodes=num_episodes)
    actions = random_wall_actions(generator, num_episodes=num_episodes, num_steps=num_steps)
    tasks = [Task(start=tuple(start), goal=tuple(start)) for start in starts.tolist()]
    return Script(tasks=tasks, actions=actions)


def _roll(
    env: BatchedEnv,
    tasks: Sequence[Task],
    *,
    actions: Float[np.ndarray, "B T a"],
    writer: EpisodeWriter,
) -> None:
    batch, num_steps, _ = actions.shape
    obs = env.reset(tasks)
    pixels = np.empty((batch, num_steps + 1, *obs.pixels.shape[1:]), dtype=np.uint8)
    proprio = np.empty((batch, num_steps + 1, env.proprio_dim), dtype=np.float32)
    states = np.empty((batch, num_steps + 1, env.state_dim))
    for t in range(num_steps + 1):
        if t > 0:
            obs = env.step(actions[:, t - 1])
        pixels[:, t] = obs.pixels.numpy()
        states[:, t] = env.states()
        if obs.proprio is not None:
            proprio[:, t] = obs.proprio.numpy()
    for i in range(batch):
        writer.append(
            pixels[i],
            actions[i],
            proprio=None if obs.proprio is None else proprio[i],
            state=states[i],
        )


@contextmanager
def _one_thread() -> Iterator[None]:
    """Run small tensor operations on one thread: two that wait for each other are far slower."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _progress(console: Console | None) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("episodes"),
        TimeRemainingColumn(),
        console=console if console is not None else Console(stderr=True),
    )
