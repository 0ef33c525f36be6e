"""Parts of a collection: stores of a fixed size, made by one process or many, joined at the end.

Which process makes a part, and when, does not show in it. Complete parts survive a kill.
"""

import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from pathlib import Path

import numpy as np
import torch

from jepawm.contracts import Simulator
from jepawm.data.episodes import open_store
from jepawm.data.manifest import MANIFEST_NAME, read_manifest
from jepawm.data.writer import EpisodeWriter
from jepawm.errors import UserError
from jepawm.files import partial_folders
from jepawm.types import Script

_PART_EPISODES = 128
_PART_BYTES = 2**27
"""Pixels of a part: 128 episodes of 51 frames of 64 pixels take 80 MB of memory."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """What the manifest says about where episodes come from."""

    environment: str
    """Name of the environment."""
    image_size: int
    """Side of the frames in pixels."""
    settings: dict[str, object]
    """How the script was made, as JSON values."""
    seed: int | None
    """Seed that made the script."""


def cut_script(script: Script, folder: Path, *, image_size: int) -> dict[Path, Script]:
    """Return the script of each part by the folder of its store."""
    longest = max(len(commands) for commands in script.commands) + 1
    size = min(max(_PART_BYTES // (3 * image_size**2 * longest), 1), _PART_EPISODES)
    firsts = range(0, len(script.tasks), size)
    return {folder / f"{first:07d}": script[first : first + size] for first in firsts}


def is_done(part: Path, script: Script, *, record: Record) -> bool:
    """Return whether an earlier run completed this part; what a kill left half written goes."""
    for leftover in partial_folders(part):
        shutil.rmtree(leftover)
    if not (part / MANIFEST_NAME).exists():
        return False
    before = read_manifest(part)
    found = (before.settings, before.seed, before.image_size, before.num_frames)
    if found != (record.settings, record.seed, record.image_size, num_frames(script)):
        raise UserError(
            f"{part.parent} holds parts of another collection for this folder; delete it, or "
            "choose another folder"
        )
    return True


def num_frames(script: Script) -> int:
    """Count the frames of all episodes of a script."""
    return sum(len(commands) + 1 for commands in script.commands)


def roll_parts(
    build: Callable[[], Simulator],
    parts: Mapping[Path, Script],
    *,
    record: Record,
    processes: int,
) -> Iterator[Path]:
    """Roll all parts, in this process or in others; yields each when it is complete."""
    if min(processes, len(parts)) <= 1:
        for part, script in parts.items():
            yield _roll_part(build, script, part, record)
        return
    workers = min(processes, len(parts))
    pool = ProcessPoolExecutor(workers, get_context("spawn"), initializer=_start_worker)
    try:
        jobs = [
            pool.submit(_roll_part, build, script, part, record) for part, script in parts.items()
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


def _roll_part(build: Callable[[], Simulator], script: Script, part: Path, record: Record) -> Path:
    """Simulate and draw the episodes of one part and store them."""
    writer = EpisodeWriter(part, **vars(record), expected_frames=num_frames(script))
    with _one_thread(), writer:
        _roll(build(), script, writer)
    return part


def _roll(env: Simulator, script: Script, writer: EpisodeWriter) -> None:
    lengths = [len(commands) for commands in script.commands]
    longest, batch = max(lengths), len(lengths)
    commands = np.stack(  # ended episodes idle by their last command; what they do is not stored
        [np.pad(rows, ((0, longest - len(rows)), (0, 0)), "edge") for rows in script.commands]
    )
    obs = env.reset(script.tasks)
    pixels = np.empty((batch, longest + 1, *obs.pixels.shape[1:]), dtype=np.uint8)
    proprio = np.empty((batch, longest + 1, env.proprio_dim), dtype=np.float32)
    states = np.empty((batch, longest + 1, env.state_dim))
    actions = np.empty((batch, longest, env.action_dim), dtype=np.float32)
    for t in range(longest + 1):
        if t > 0:
            wanted = commands[:, t - 1]
            if script.feedback is not None:
                wanted = script.feedback(states[:, t - 1], wanted)
            actions[:, t - 1] = wanted
            obs = env.step(actions[:, t - 1])
        pixels[:, t] = obs.pixels.numpy()
        states[:, t] = env.states()
        if obs.proprio is not None:
            proprio[:, t] = obs.proprio.numpy()
    for i, num_steps in enumerate(lengths):
        writer.append(
            pixels[i, : num_steps + 1],
            actions[i, :num_steps],
            proprio=None if obs.proprio is None else proprio[i, : num_steps + 1],
            state=states[i, : num_steps + 1],
        )


def join_parts(parts: list[Path], path: Path, *, record: Record) -> None:
    """Write the episodes of all parts into one store, then delete the parts."""
    stores = [open_store(part) for part in parts]
    frames = sum(int(store.lengths.sum()) for store in stores)
    with EpisodeWriter(path, **vars(record), expected_frames=frames) as writer:
        for store in stores:
            for start, length in zip(store.starts, store.lengths, strict=True):
                rows = slice(start, start + length)
                writer.append(
                    store.frames(np.arange(start, start + length)),
                    store.actions[rows][: length - 1],
                    proprio=None if store.proprio is None else store.proprio[rows],
                    state=None if store.state is None else store.state[rows],
                )
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
