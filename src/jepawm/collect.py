"""Collect episodes: roll a script through many copies of an environment into a store.

A collection is cut into parts of a fixed size. Each part is a store of its own below
`<path>.parts`, made by whichever process is free; complete parts survive a kill, and the last
step joins them. So neither the number of processes nor an interruption shows in the result.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, is_dataclass
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from jepawm.collect_parts import (
    Record,
    cut_script,
    is_done,
    join_parts,
    num_frames,
    roll_parts,
)
from jepawm.contracts import CollectionPolicy, Simulator
from jepawm.data.episodes import EpisodeStore, open_store
from jepawm.envs import ENVIRONMENTS, POLICIES
from jepawm.errors import UserError
from jepawm.files import data_root as default_data_root
from jepawm.files import require_free_bytes
from jepawm.types import Script


def new_policy(name: str) -> CollectionPolicy:
    """Build the policy called `name` with its defaults.

    Raises:
        UserError: if there is none, or it is not a policy.
    """
    kind = POLICIES.get(name)
    policy = kind() if isinstance(kind, type) else None
    if not isinstance(policy, CollectionPolicy):
        raise UserError(f"collection policy {name!r} is no class with a method script; mend it")
    return policy


def collect_environment(
    name: str,
    *,
    path: Path,
    policy: CollectionPolicy | None = None,
    num_episodes: int = 1920,
    num_steps: int = 50,
    image_size: int = 64,
    seed: int,
    processes: int = 1,
    data_root: Path | None = None,
    console: Console | None = None,
) -> EpisodeStore:
    """Collect episodes of an environment by a policy; the same seed gives the same bytes.

    A collection that was killed goes on where it stopped when it is started again.

    Args:
        name: name of the environment.
        path: folder of the store to create.
        policy: where episodes start and what is done; None means the environment's own.
        num_episodes: number of episodes.
        num_steps: environment steps of each (at most, if the policy replays recordings).
        image_size: height and width of the frames in pixels.
        seed: seed of starts and actions.
        processes: processes that simulate and draw; with more than 1, scripts need the usual
            `if __name__ == "__main__"`.
        data_root: folder of recordings that the policy may replay; None means the default one.
        console: where progress is shown; None means stderr.

    Raises:
        UserError: if there is no such environment, a number is out of range, `path` exists, or the
            disk is full.
    """
    build = cast(Callable[..., Simulator], ENVIRONMENTS.get(name))
    policy = new_policy(name) if policy is None else policy
    for field, value, lowest in (
        ("num_episodes", num_episodes, 1),
        ("num_steps", num_steps, 1),
        ("seed", seed, 0),
    ):
        if value < lowest:
            raise UserError(f"{field} = {value} is too small; it must be at least {lowest}")
    script = policy.script(
        np.random.default_rng(seed),
        num_episodes=num_episodes,
        num_steps=num_steps,
        data_root=default_data_root(data_root),
    )
    record = asdict(policy) if is_dataclass(policy) else {}
    settings = {
        "policy": {"kind": type(policy).__name__, **record},
        "num_episodes": num_episodes,
        "num_steps": num_steps,
        **script.sources,
    }
    return collect(
        partial(build, image_size=image_size),
        script,
        path=path,
        environment=name,
        seed=seed,
        settings=settings,
        processes=processes,
        console=console,
    )


def collect(
    build: Callable[[], Simulator],
    script: Script,
    *,
    path: Path,
    environment: str,
    seed: int | None,
    settings: Mapping[str, object],
    processes: int = 1,
    console: Console | None = None,
) -> EpisodeStore:
    """Roll a script through an environment part by part, in lockstep, and store the episodes.

    Actions are rounded to float32 before they are executed, so that the stored actions replay to
    the stored states exactly.

    Args:
        build: makes the environment, in each process anew.
        script: starts and actions.
        path: folder of the store to create.
        environment: name of the environment for the manifest.
        seed: seed that made the script, for the manifest.
        settings: how the script was made, as JSON values, for the manifest.
        processes: processes that simulate and draw.
        console: where progress is shown; None means stderr.

    Raises:
        UserError: if `path` or parts of another collection exist, the script does not fit the
            environment, the disk is full, or a process died.
    """
    num_episodes = len(script.commands)
    if len(script.tasks) != num_episodes or not num_episodes or processes < 1:
        raise UserError(
            f"the script has {len(script.tasks)} starts for {num_episodes} episodes, to be rolled "
            f"by {processes} processes; there must be one start for each, and at least one of all"
        )
    if path.exists():
        raise UserError(f"{path} exists already; choose another folder or delete it first")
    image_size = build().reset(script.tasks[:1]).pixels.shape[-1]
    plain = json.loads(json.dumps(dict(settings)))
    record = Record(environment=environment, image_size=image_size, settings=plain, seed=seed)
    folder = path.with_name(path.name + ".parts")
    parts = cut_script(script, folder, image_size=image_size)
    missing = {
        part: piece for part, piece in parts.items() if not is_done(part, piece, record=record)
    }
    frames_to_write = num_frames(script) + sum(map(num_frames, missing.values()))
    require_free_bytes(path, num_bytes=3 * image_size**2 * frames_to_write)
    try:
        with _progress(console) as progress:
            done = sum(len(piece.tasks) for part, piece in parts.items() if part not in missing)
            bar = progress.add_task(f"collecting {environment}", total=num_episodes, completed=done)
            for part in roll_parts(build, missing, record=record, processes=processes):
                progress.advance(bar, len(missing[part].tasks))
        join_parts(list(parts), path, record=record)
    finally:
        if folder.exists() and not any(folder.iterdir()):  # nothing to go on from
            folder.rmdir()
    return open_store(path)


def _progress(console: Console | None) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("episodes"),
        TimeRemainingColumn(),
        console=console if console is not None else Console(stderr=True),
    )
