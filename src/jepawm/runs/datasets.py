"""Find a data set, or collect it."""

import hashlib
import json
from dataclasses import asdict, is_dataclass
from pathlib import Path

import torch

from jepawm.collect import collect_environment, new_policy
from jepawm.data.episodes import EpisodeStore, open_store
from jepawm.envs import RECORDINGS
from jepawm.errors import UserError
from jepawm.experiment import DataConfig
from jepawm.files import alone

_NO_RECORDINGS = (
    "this recipe trains on your recordings: name them by --data, a LeRobot data set, a store or "
    "any other format of `jepawm data import`"
)


def collect_run(
    name: str, *, data: DataConfig, out: Path | None, data_root: Path, processes: int | None = None
) -> dict[str, object]:
    """Collect episodes of an environment; returns what was written.

    Args:
        name: name of the environment.
        data: what to collect.
        out: folder of the store; None means below the data root, by what decides its content.
        data_root: folder of data sets, and of recordings to replay.
        processes: processes that simulate and draw; None means as many as PyTorch has threads.
    """
    path = out or store_path(name, data, data_root=data_root)
    with alone(path):
        store = _collect(name, data, path=path, data_root=data_root, processes=processes)
    return {"store": path, "episodes": len(store), "frames": int(store.lengths.sum())}


def find_or_collect(
    name: str, data: DataConfig, *, data_root: Path, processes: int | None = None
) -> EpisodeStore:
    """Open the data set of a configuration, collecting it first where it does not exist."""
    if name == RECORDINGS and data.store is None:
        raise UserError(_NO_RECORDINGS)
    path = store_path(name, data, data_root=data_root)
    if path.exists():
        return open_store(path)
    if data.store is not None:
        raise UserError(
            f"data.store: {path} does not exist and is not collected; import the data set "
            "(jepawm data import --help), or give the path of its store"
        )
    with alone(path):
        if path.exists():  # while this process waited
            return open_store(path)
        return _collect(name, data, path=path, data_root=data_root, processes=processes)


def store_path(name: str, data: DataConfig, *, data_root: Path) -> Path:
    """Return where a data set lies: its name tells all that decides its content."""
    if data.store is not None:
        return data_root / Path(data.store).expanduser()
    size = f"{data.num_episodes}x{data.episode_steps}"
    stem = f"{name}-{size}-{data.image_size}px-seed{data.seed}"
    if data.policy == new_policy(name):
        return data_root / stem
    settings = asdict(data.policy) if is_dataclass(data.policy) else {}
    text = json.dumps([type(data.policy).__name__, settings], sort_keys=True)
    return data_root / f"{stem}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _collect(
    name: str, data: DataConfig, *, path: Path, data_root: Path, processes: int | None
) -> EpisodeStore:
    return collect_environment(
        name,
        path=path,
        policy=data.policy,
        num_episodes=data.num_episodes,
        num_steps=data.episode_steps,
        image_size=data.image_size,
        seed=data.seed,
        processes=torch.get_num_threads() if processes is None else processes,
        data_root=data_root,
    )
