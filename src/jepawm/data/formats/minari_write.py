"""Write a store as a data set of Minari, by Minari: `minari.load_dataset` reads it.

Nothing is lost: pictures are kept as arrays, `[3, height, width]` as our Gymnasium environments give
them, actions and proprioception in float32, the simulator's state among the infos. The environment
can be recovered where one of our ids stands for it.
"""

import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec

from jepawm.data.episodes import EpisodeStore
from jepawm.data.exporting import ExportOptions, StoredEpisode, stored_episodes
from jepawm.errors import missing_extra
from jepawm.files import complete_or_absent, telling_full_disk
from jepawm.gym_ids import IDS, register_ids

if TYPE_CHECKING:
    from minari.data_collector import EpisodeBuffer

_VERSIONED = re.compile(r"[\w-]+-v\d+")
_FARTHEST = float(np.finfo(np.float32).max)
_LOG = logging.getLogger(__name__)


def write_minari(store: EpisodeStore, out: Path, *, options: ExportOptions) -> None:
    """Write all episodes; `out` is the folder that Minari calls by its name, `DATA/NAME-v0`."""
    del options  # no frame rate, no videos
    try:
        from minari import __version__
        from minari.dataset.minari_storage import MinariStorage
    except ImportError as error:
        raise missing_extra(
            "writing for Minari", error, package="minari", extra="minari"
        ) from error
    manifest = store.manifest
    num_bytes = manifest.num_frames * manifest.image_size**2 * 3
    name = out.resolve().name
    with complete_or_absent(out) as folder, telling_full_disk(out, num_bytes=num_bytes):
        storage = MinariStorage.new(
            folder / "data",
            observation_space=_observation_space(store),
            action_space=_action_space(store),
            env_spec=_env_spec(store),
            jpeg_encoding=False,
        )
        storage.update_metadata(
            {
                "dataset_id": name if _VERSIONED.fullmatch(name) else f"{_plain(name)}-v0",
                "minari_version": __version__,
                "requirements": ["jepawm"],
            }
        )
        storage.update_episodes(_buffers(store))


def _buffers(store: EpisodeStore) -> "Iterator[EpisodeBuffer]":
    from minari.data_collector import EpisodeBuffer

    dropped = 0
    for episode in stored_episodes(store):
        num_steps = len(episode.frames) - 1
        dropped += episode.num_actions > num_steps
        yield EpisodeBuffer(
            id=episode.index,
            observations=_observations(episode),
            actions=np.ascontiguousarray(episode.actions[:num_steps]),  # pyright: ignore[reportArgumentType]
            rewards=[0.0] * num_steps,
            terminations=[False] * num_steps,
            truncations=[False] * (num_steps - 1) + [True],
            infos=None if episode.state is None else {"state": episode.state},
        )
    if dropped:
        _LOG.warning(
            "%d episodes have an action at their last frame, which leads nowhere; Minari has no "
            "place for it",
            dropped,
        )


def _observations(episode: StoredEpisode) -> dict[str, np.ndarray]:
    """Return the observations as our Gymnasium environments give them."""
    pixels = np.ascontiguousarray(episode.frames.transpose(0, 3, 1, 2))
    return {"pixels": pixels} | ({} if episode.proprio is None else {"proprio": episode.proprio})


def _observation_space(store: EpisodeStore) -> spaces.Dict:
    size = store.manifest.image_size
    found: dict[str, spaces.Space] = {"pixels": spaces.Box(0, 255, (3, size, size), np.uint8)}
    if store.proprio is not None:
        width = (store.proprio.shape[1],)
        found["proprio"] = spaces.Box(-_FARTHEST, _FARTHEST, width, np.float32)
    return spaces.Dict(found)


def _action_space(store: EpisodeStore) -> spaces.Box:
    """Return the space of our environments, from -1 to 1, or a wider one that holds all actions."""
    most = max(1.0, float(np.abs(store.actions).max(initial=0.0)))
    return spaces.Box(-most, most, (store.actions.shape[1],), np.float32)


def _env_spec(store: EpisodeStore) -> EnvSpec | None:
    """Return what Gymnasium makes the environment from; None where no id stands for it."""
    ids = [name for name, (env, _) in IDS.items() if env == store.manifest.environment]
    if not ids:
        return None
    register_ids()
    spec = gymnasium.spec(ids[0])
    return EnvSpec(
        id=spec.id,
        entry_point=spec.entry_point,
        vector_entry_point=spec.vector_entry_point,
        max_episode_steps=spec.max_episode_steps,
        kwargs={**spec.kwargs, "image_size": store.manifest.image_size},
    )


def _plain(name: str) -> str:
    return re.sub(r"[^\w-]+", "-", name)
