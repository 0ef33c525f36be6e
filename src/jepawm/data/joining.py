"""Join stores of the same kind into one, to learn from all of them."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from jepawm.data.episodes import EpisodeStore, open_store
from jepawm.data.jpeg_frames import JpegFrames
from jepawm.data.mixture import SETTING, mixture_setting, require_weights
from jepawm.data.writer import EpisodeWriter
from jepawm.errors import UserError
from jepawm.files import require_free


def join_stores(paths: Sequence[Path], out: Path, *, weights: Sequence[float] = ()) -> EpisodeStore:
    """Write the episodes of stores, one store after the other, into a new one.

    With `weights`, one for each store, training draws windows from each in this proportion; without,
    each window counts once.

    They must agree in environment, frame size and rate, and in the widths of actions,
    proprioception and state. The manifest names the hash of each.
    """
    require_free(out)
    if len(paths) < 2:
        raise UserError("name at least two stores to join")
    if weights:
        require_weights(weights, count=len(paths))
    stores = [open_store(path) for path in paths]
    first = stores[0].manifest
    for store in stores:
        _require_alike(store, stores[0])
    settings: dict[str, object] = {"joined": [store.sha256 for store in stores]}
    if weights:
        settings[SETTING] = mixture_setting([len(store) for store in stores], weights)
    names = first.settings.get("action_names")
    if all(store.manifest.settings.get("action_names") == names for store in stores) and names:
        settings["action_names"] = names
    with EpisodeWriter(
        out,
        environment=first.environment,
        image_size=first.image_size,
        settings=settings,
        expected_frames=sum(store.manifest.num_frames for store in stores),
        pixels="raw",
        fps=first.fps,
        reward_names=first.reward_names or (),
        cameras=stores[0].cameras,
    ) as writer:
        for store in stores:
            copy_episodes(store, writer)
    return open_store(out)


def copy_episodes(
    store: EpisodeStore, writer: EpisodeWriter, *, episodes: Iterable[int] | None = None
) -> None:
    """Append episodes of a store, decoded, to another, in the order given; None: all."""
    read = store.pictures if store.cameras else store.frames
    for index in range(len(store)) if episodes is None else episodes:
        start, length = int(store.starts[index]), int(store.lengths[index])
        rows = slice(start, start + length)
        writer.append(
            read(np.arange(start, start + length)),
            store.actions[rows][: store.num_actions[index]],
            proprio=None if store.proprio is None else store.proprio[rows],
            state=None if store.state is None else store.state[rows],
            rewards=None if store.rewards is None else store.rewards[rows],
            task=store.tasks[index],
        )


def _require_alike(store: EpisodeStore, first: EpisodeStore) -> None:
    widths = ("action_dim", "proprio_dim", "state_dim", "reward_names")
    for name in ("environment", "image_size", "cameras", "fps", *widths):
        values = [getattr(one.manifest, name) for one in (store, first)]
        if values[0] != values[1]:
            raise UserError(
                f"{store.path}: {name} = {values[0]}, and {first.path} has {values[1]}; only stores "
                "that agree can be joined"
            )
    if isinstance(store.pixels, JpegFrames):
        raise UserError(
            f"{store.path} holds JPEG pictures, which would be compressed a second time; import it "
            "with --pixels raw to join it"
        )
