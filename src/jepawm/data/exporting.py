"""Export a store: the formats that can be written, and what they share."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

import numpy as np
from jaxtyping import Float, UInt8

from jepawm.data.episodes import EpisodeStore
from jepawm.errors import UserError
from jepawm.registry import Registry, function

Images = Literal["video", "png"]
"""How frames are written: `video` (h264, loses a little) or `png` (exact, larger)."""
_SLOWEST, _FASTEST = 0.01, 10_000.0


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """How a store is exported."""

    images: Images = "video"
    """How frames are written: `video` (h264, loses a little) or `png` (exact, larger)."""
    fps: float | None = None
    """Frames per second, where the store does not know them."""


EXPORTERS = Registry(
    "export_format",
    {
        "lerobot": "jepawm.data.formats.lerobot.write:write_v3",
        "lerobot-v2.1": "jepawm.data.formats.lerobot.write:write_v2",
        "minari": "jepawm.data.formats.minari_write:write_minari",
        "npz": "jepawm.data.formats.npz:write_npz",
    },
    rule=function,
)
"""Every format that can be written, by name."""


def export_store(
    store: EpisodeStore, out: Path, *, format_name: str, options: ExportOptions
) -> None:
    """Write all episodes of a store in another format into the new folder `out`."""
    store.require_one_camera("an export")
    cast(Callable[..., None], EXPORTERS.get(format_name))(store, out, options=options)


@dataclass(frozen=True, kw_only=True, eq=False)
class StoredEpisode:
    """One episode read from a store."""

    index: int
    """Number of the episode."""
    frames: UInt8[np.ndarray, "L height width 3"]
    """Frames."""
    actions: Float[np.ndarray, "L a"]
    """Actions; the last row is zero where there is one less than frames."""
    num_actions: int
    """Number of actions."""
    proprio: Float[np.ndarray, "L P"] | None
    """Proprioception; None if there is none."""
    state: Float[np.ndarray, "L S"] | None
    """Simulator state; None if there is none."""
    task: str
    """What it is about, in words."""


def stored_episodes(store: EpisodeStore) -> Iterator[StoredEpisode]:
    """Read the episodes of a store one after the other."""
    for index in range(len(store)):
        start, length = int(store.starts[index]), int(store.lengths[index])
        rows = slice(start, start + length)
        yield StoredEpisode(
            index=index,
            frames=store.frames(np.arange(start, start + length)).transpose(0, 2, 3, 1),
            actions=np.array(store.actions[rows]),
            num_actions=int(store.num_actions[index]),
            proprio=None if store.proprio is None else np.array(store.proprio[rows]),
            state=None if store.state is None else np.array(store.state[rows]),
            task=store.tasks[index],
        )


def export_rate(store: EpisodeStore, options: ExportOptions) -> float:
    """Return the frames per second to write."""
    fps = store.manifest.fps if options.fps is None else options.fps
    if fps is None:
        raise UserError(f"{store.path} does not know its frames per second; give --fps")
    if not _SLOWEST <= fps <= _FASTEST:
        raise UserError(
            f"{fps:g} frames per second cannot be written; give --fps, {_SLOWEST:g} to {_FASTEST:g}"
        )
    return fps
