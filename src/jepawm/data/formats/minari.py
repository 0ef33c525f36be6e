"""Minari data sets with image observations, kept as HDF5.

    data/main_data.hdf5    episode_k/observations: one array, or a group of them, [T + 1, ...];
                           episode_k/actions [T, a]; episode_k/infos/state [T + 1, S], optional
    data/metadata.json     env_spec, dataset_id

Every uint8 array of shape [T + 1, height, width, 3] or [T + 1, 3, height, width] is a camera, and so is every array of JPEG
pictures, as Minari keeps images by default. Unless it is named, proprioception is all vectors of the observation but those with "goal" in their name, joined.
"""

import re
from functools import partial
from operator import itemgetter
from pathlib import Path

import numpy as np
from jaxtyping import Shaped

from jepawm.data.cameras import picture_like
from jepawm.data.formats.hdf5 import Group, joined, opened, read_frames
from jepawm.data.recording import (
    Episode,
    Format,
    ReadOptions,
    Recording,
    Source,
    all_files,
    choose_camera,
    read_any,
    require_own,
)
from jepawm.errors import UserError, plain_text
from jepawm.strict_json import expect, optional_entry, read_json

_OBSERVATIONS = "observations"
_STATE = "infos/state"


def open_minari(path: Path, options: ReadOptions) -> Source:
    """Open the folder of a data set (the one that holds `data/`)."""
    file = path / "data" / "main_data.hdf5"
    metadata = _metadata(path)
    kept = metadata.get("data_format", "hdf5")
    if kept != "hdf5":
        raise UserError(f"{path} is kept as {kept!r}; save it with data_format='hdf5' by Minari")
    with opened(file, root=path) as content:
        names = sorted(content.names(), key=_number)
    if not names:
        raise UserError(f"{file} holds no episodes; copy it again")
    describe = partial(_describe, file, root=path)
    cameras, columns = read_any(names, describe, enough=itemgetter(0)) or describe(names[0])
    others = {
        name.removeprefix(f"{_OBSERVATIONS}/"): kind
        for name, kind in picture_like(columns).items()
        if name not in cameras and name.startswith(_OBSERVATIONS)
    }
    if not cameras and not others:
        raise UserError(
            f"{file} holds no image observations; record them with Minari's DataCollector around an "
            "environment that observes pixels (gymnasium's AddRenderObservation)"
        )
    short = [name.removeprefix(f"{_OBSERVATIONS}/") for name in cameras]
    camera = choose_camera(options.camera, short, where=path, others=others)
    return Source(
        format="minari",
        path=path,
        environment=optional_entry(metadata, "dataset_id", str, where=path) or path.resolve().name,
        fps=None,
        cameras=short,
        camera=camera,
        episodes=[
            Episode(
                name=name,
                file=file,
                read=partial(
                    _read, file, name, cameras[short.index(camera)], root=path, options=options
                ),
            )
            for name in names
        ],
        files=all_files(path / "data"),
        columns=columns,
    )


def _recognises(path: Path) -> bool:
    return (path / "data" / "metadata.json").is_file()


FORMAT = Format(summary="Minari data set (HDF5)", recognises=_recognises, open=open_minari)


def _read(file: Path, name: str, camera: str, *, root: Path, options: ReadOptions) -> Recording:
    with opened(file, root=root) as content:
        episode = content.group(name)
        if camera not in episode.cameras():
            raise UserError(f"{file}: {plain_text(name)} has no camera {camera!r}")
        num_frames = len(episode.dataset(camera))
        actions = joined(episode, (options.action_key or "actions").split(","))
        return Recording(
            num_frames=num_frames,
            actions=actions,
            proprio=_proprio(episode, options),
            state=_state(episode, num_frames),
            frames=partial(read_frames, file, f"{name}/{camera}", root=root),
            count_frames=lambda: num_frames,
        )


def _state(episode: Group, num_frames: int) -> Shaped[np.ndarray, "n S"] | None:
    """Return what the infos say of the simulator's state, as our own environments do."""
    if _STATE not in episode.datasets():
        return None
    rows = episode.rows(_STATE)
    return rows if len(rows) == num_frames else None  # others count from the first step


def _proprio(episode: Group, options: ReadOptions) -> Shaped[np.ndarray, "n d"] | None:
    if options.proprio_key == "none":
        return None
    if options.proprio_key is not None:
        names = [f"{_OBSERVATIONS}/{name}" for name in options.proprio_key.split(",")]
    else:
        names = [
            name
            for name, data in episode.datasets().items()
            if name.startswith(_OBSERVATIONS)
            and "goal" not in name
            and data.ndim == 2
            and np.issubdtype(data.dtype, np.floating)
        ]
    return joined(episode, names) if names else None


def _describe(file: Path, name: str, *, root: Path) -> tuple[list[str], dict[str, str]]:
    """Return the cameras of an episode, and its columns in words."""
    with opened(file, root=root) as content:
        episode = content.group(name)
        cameras = [name for name in episode.cameras() if name.startswith(_OBSERVATIONS)]
        return cameras, episode.columns()


def _number(name: str) -> int:
    digits = re.findall(r"\d+", name)
    return int(digits[-1]) if digits else 0


def _metadata(path: Path) -> dict[str, object]:
    file = path / "data" / "metadata.json"
    require_own(path, file)
    return expect(read_json(file, what="metadata"), dict, where=file, field="the content")
