"""Find a data set, or collect it."""

from pathlib import Path

from jepawm.collect import collect_environment
from jepawm.data.episodes import EpisodeStore, open_store
from jepawm.experiment import DataConfig


def collect_run(
    name: str,
    *,
    out: Path | None,
    data_root: Path,
    num_episodes: int,
    num_steps: int,
    image_size: int,
    seed: int,
) -> dict[str, object]:
    """Collect episodes of an environment; returns what was written."""
    data = DataConfig(
        num_episodes=num_episodes, episode_steps=num_steps, image_size=image_size, seed=seed
    )
    path = out or store_path(name, data, data_root=data_root)
    store = collect_environment(
        name,
        path=path,
        num_episodes=num_episodes,
        num_steps=num_steps,
        image_size=image_size,
        seed=seed,
    )
    return {"store": path, "episodes": len(store), "frames": int(store.lengths.sum())}


def find_or_collect(name: str, data: DataConfig, *, data_root: Path) -> EpisodeStore:
    """Open the data set of a configuration, collecting it first where it does not exist."""
    path = store_path(name, data, data_root=data_root)
    if path.exists():
        return open_store(path)
    return collect_environment(
        name,
        path=path,
        num_episodes=data.num_episodes,
        num_steps=data.episode_steps,
        image_size=data.image_size,
        seed=data.seed,
    )


def store_path(name: str, data: DataConfig, *, data_root: Path) -> Path:
    """Return where a data set lies: its name tells all that decides its content."""
    size = f"{data.num_episodes}x{data.episode_steps}"
    return data_root / f"{name}-{size}-{data.image_size}px-seed{data.seed}"
