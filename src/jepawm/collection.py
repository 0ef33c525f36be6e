"""Collect episodes: roll a script through many copies of an environment into a store.

A collection is cut into parts of a fixed size. Each part is a store of its own below
`<path>.parts`, made by whichever process is free; complete parts survive a kill, and the last
step joins them. So neither the number of processes nor an interruption shows in the result.
"""

import json
import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, dataclass, is_dataclass, replace
from functools import partial
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import cast

import numpy as np
import torch
from rich.console import Console
from rich.progress import TimeRemainingColumn

from jepawm.contracts import CollectionPolicy, Env, Script, Simulator
from jepawm.data.episodes import EpisodeStore, open_store
from jepawm.data.joining import copy_episodes
from jepawm.data.manifest import MANIFEST_NAME, read_manifest
from jepawm.data.writer import EpisodeWriter
from jepawm.envs import ENVIRONMENTS, POLICIES, without_noise
from jepawm.envs.gymnasium.policy import RandomActions
from jepawm.errors import UserError
from jepawm.files import data_root as default_data_root
from jepawm.files import partial_folders, require_free, require_free_bytes
from jepawm.launch import without_working_folder
from jepawm.progress import ProgressLine

_PART_EPISODES = 128
_PART_BYTES = 2**27
"""Pixels of a part: 128 episodes of 51 frames of 64 pixels take 80 MB of memory."""
_LINE_SECONDS = 10.0
"""Seconds between two lines of progress where stderr is no terminal."""


def new_policy(name: str) -> CollectionPolicy:
    """Build the policy of the environment called `name`, noisy or not, with its defaults."""
    name = without_noise(name)
    if not has_policy(name):
        raise UserError(
            f"environment {name!r} has no policy of its own; choose one by --policy (known: "
            f"{', '.join(POLICIES.names())}; your own: my_module:MyPolicy)"
        )
    return cast(Callable[[], CollectionPolicy], POLICIES.get(name))()


def has_policy(name: str) -> bool:
    """Return whether the environment called `name`, noisy or not, has a policy of its own."""
    name = without_noise(name)
    family, colon, member = name.partition(":")
    families = {one.partition(":")[0] for one in POLICIES.names() if ":" in one}
    return name in POLICIES.names() or bool(colon and member and family in families)


def collect(
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

    A collection that was killed continues where it stopped when it is started again.

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
    """
    build = cast(Callable[..., Env], ENVIRONMENTS.get(name))
    policy = new_policy(name) if policy is None else policy
    if isinstance(policy, RandomActions) and not policy.environment:
        policy = replace(policy, environment=name)
    for field, value, lowest in (
        ("num_episodes", num_episodes, 1),
        ("num_steps", num_steps, 1),
        ("seed", seed, 0),
    ):
        if value < lowest:
            raise UserError(f"{field} = {value} is too small; it must be at least {lowest}")
    require_free_bytes(path, num_bytes=2 * num_episodes * 3 * image_size**2)  # two frames of each
    script = policy.script(
        np.random.default_rng(seed),
        num_episodes=num_episodes,
        num_steps=num_steps,
        data_root=default_data_root(data_root),
    )
    fields = asdict(policy) if is_dataclass(policy) else {}
    settings = {
        "policy": {"kind": type(policy).__name__, **fields},
        "num_episodes": num_episodes,
        "num_steps": num_steps,
        **script.sources,
    }
    return collect_script(
        partial(build, image_size=image_size),
        script,
        path=path,
        environment=name,
        seed=seed,
        settings=settings,
        processes=processes,
        console=console,
    )


def collect_script(
    build: Callable[[], Env],
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
    """
    num_episodes = len(script.commands)
    if len(script.tasks) != num_episodes or not num_episodes or processes < 1:
        raise UserError(
            f"the script has {len(script.tasks)} starts for {num_episodes} episodes, to be rolled "
            f"by {processes} processes; there must be one start for each, and at least one of all"
        )
    require_free(path)
    image_size = build().reset(script.tasks[:1]).pixels.shape[-1]
    plain = json.loads(json.dumps(dict(settings)))
    origin = _Origin(environment=environment, image_size=image_size, settings=plain, seed=seed)
    folder = path.with_name(path.name + ".parts")
    parts = _cut_script(script, folder, image_size=image_size)
    missing = {
        part: piece for part, piece in parts.items() if not _is_done(part, piece, origin=origin)
    }
    frames_to_write = _num_frames(script) + sum(map(_num_frames, missing.values()))
    require_free_bytes(path, num_bytes=3 * image_size**2 * frames_to_write)
    try:
        done = sum(len(piece.tasks) for part, piece in parts.items() if part not in missing)
        with ProgressLine(
            num_episodes,
            f"collecting {environment}",
            done=done,
            line_seconds=_LINE_SECONDS,
            console=console,
            columns=(TimeRemainingColumn(),),
        ) as line:
            for part in _roll_parts(build, missing, origin=origin, processes=processes):
                done += len(missing[part].tasks)
                line.show(done, "episodes", plain="episodes", now=done == num_episodes)
        _join_parts(list(parts), path, origin=origin)
    finally:
        if folder.exists() and not any(folder.iterdir()):  # nothing to continue from
            folder.rmdir()
    return open_store(path)


@dataclass(frozen=True, kw_only=True)
class _Origin:
    """What the manifest says about where episodes come from."""

    environment: str
    """Name of the environment."""
    image_size: int
    """Side of the frames in pixels."""
    settings: dict[str, object]
    """How the script was made, as JSON values."""
    seed: int | None
    """Seed that made the script."""


def _cut_script(script: Script, folder: Path, *, image_size: int) -> dict[Path, Script]:
    """Return the script of each part by the folder of its store."""
    longest = max(len(commands) for commands in script.commands) + 1
    most = min(_PART_EPISODES, script.most_at_once or _PART_EPISODES)
    size = min(max(_PART_BYTES // (3 * image_size**2 * longest), 1), most)
    firsts = range(0, len(script.tasks), size)
    return {folder / f"{first:07d}": script[first : first + size] for first in firsts}


def _is_done(part: Path, script: Script, *, origin: _Origin) -> bool:
    """Return whether an earlier run completed this part; what a kill left half written goes."""
    for leftover in partial_folders(part):
        shutil.rmtree(leftover)
    if not (part / MANIFEST_NAME).exists():
        return False
    before = read_manifest(part)
    found = (before.settings, before.seed, before.image_size, before.num_frames)
    if found != (origin.settings, origin.seed, origin.image_size, _num_frames(script)):
        raise UserError(
            f"{part.parent} holds parts of another collection for this folder; delete it, or "
            "choose another folder"
        )
    return True


def _num_frames(script: Script) -> int:
    """Count the frames of all episodes of a script."""
    return sum(len(commands) + 1 for commands in script.commands)


def _roll_parts(
    build: Callable[[], Env],
    parts: Mapping[Path, Script],
    *,
    origin: _Origin,
    processes: int,
) -> Iterator[Path]:
    """Roll all parts, in this process or in others; yields each when it is complete."""
    if min(processes, len(parts)) <= 1:
        for part, script in parts.items():
            yield _roll_part(build, script, part, origin)
        return
    workers = min(processes, len(parts))
    with without_working_folder():
        pool = ProcessPoolExecutor(workers, get_context("spawn"), initializer=_start_worker)
    try:
        with without_working_folder():
            jobs = [
                pool.submit(_roll_part, build, script, part, origin)
                for part, script in parts.items()
            ]
        for job in as_completed(jobs):
            yield job.result()
    except BrokenProcessPool as error:
        raise UserError(
            "a collecting process died (out of memory?); what is complete is kept: run the same "
            "command again, with fewer --processes if memory is short"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _start_worker() -> None:
    """Let the main process alone answer Ctrl-C, and end when it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_follow_parent, daemon=True).start()


def _follow_parent() -> None:
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _roll_part(build: Callable[[], Env], script: Script, part: Path, origin: _Origin) -> Path:
    """Simulate and draw the episodes of one part and store them."""
    writer = EpisodeWriter(part, **vars(origin), expected_frames=_num_frames(script))
    with _one_thread(), writer:
        _roll(build(), script, writer)
    return part


def _roll(env: Env, script: Script, writer: EpisodeWriter) -> None:
    lengths = [len(commands) for commands in script.commands]
    longest, batch = max(lengths), len(lengths)
    commands = np.stack(  # ended episodes idle by their last command; what they do is not stored
        [np.pad(rows, ((0, longest - len(rows)), (0, 0)), "edge") for rows in script.commands]
    )
    obs = env.reset(script.tasks)
    pixels = np.empty((batch, longest + 1, *obs.pixels.shape[1:]), dtype=np.uint8)
    proprio = np.empty((batch, longest + 1, env.proprio_dim), dtype=np.float32)
    simulator = env if isinstance(env, Simulator) else None
    if simulator is None and script.feedback is not None:
        raise UserError(
            f"the policy acts on exact states, and {type(env).__name__} has none; give it "
            "state_dim and states(), or choose a policy whose script has no feedback"
        )
    states = np.empty((batch, longest + 1, 0 if simulator is None else simulator.state_dim))
    actions = np.empty((batch, longest, env.action_dim), dtype=np.float32)
    for t in range(longest + 1):
        if t > 0:
            wanted = commands[:, t - 1]
            if script.feedback is not None:
                wanted = script.feedback(states[:, t - 1], wanted)
            actions[:, t - 1] = wanted
            obs = env.step(actions[:, t - 1])
        pixels[:, t] = obs.pixels.numpy()
        if simulator is not None:
            states[:, t] = simulator.states()
        if obs.proprio is not None:
            proprio[:, t] = obs.proprio.numpy()
    for i, num_steps in enumerate(lengths):
        writer.append(
            pixels[i, : num_steps + 1],
            actions[i, :num_steps],
            proprio=None if obs.proprio is None else proprio[i, : num_steps + 1],
            state=None if simulator is None else states[i, : num_steps + 1],
        )


def _join_parts(parts: list[Path], path: Path, *, origin: _Origin) -> None:
    """Write the episodes of all parts into one store, then delete the parts."""
    stores = [open_store(part) for part in parts]
    frames = sum(int(store.lengths.sum()) for store in stores)
    with EpisodeWriter(path, **vars(origin), expected_frames=frames) as writer:
        for store in stores:
            copy_episodes(store, writer)
    shutil.rmtree(parts[0].parent)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Run small tensor operations on one thread: two that wait for each other are far slower."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
