"""Minari data sets with image observations, kept as HDF5.

    data/main_data.hdf5    episode_k/observations: one array, or a group of them, [T + 1, ...];
                           episode_k/actions [T, a]
    data/metadata.json     env_spec, dataset_id

Every uint8 array of shape [T + 1, height, width, 3] is a camera, and so is every array of JPEG
pictures, as Minari keeps images by default. Unless it is named, proprioception is all vectors of the observation but those with "goal" in their name, joined.
"""

import json
import re
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Shaped

from jepawm.data.formats.hdf5 import (
    cameras_in,
    columns_in,
    dataset_of,
    datasets_in,
    group_of,
    opened,
    read_frames,
    rows_of,
)
from jepawm.data.recording import (
    Episode,
    Format,
    ReadOptions,
    Recording,
    Source,
    all_files,
    choose_camera,
)
from jepawm.errors import UserError

if TYPE_CHECKING:
    import h5py

_OBSERVATIONS = "observations"


def open_minari(path: Path, options: ReadOptions) -> Source:
    """Open the folder of a data set (the one that holds `data/`)."""
    file = path / "data" / "main_data.hdf5"
    metadata = _metadata(path / "data" / "metadata.json")
    kept = metadata.get("data_format", "hdf5")
    if kept != "hdf5":
        raise UserError(f"{path} is kept as {kept!r}; save it with data_format='hdf5' by Minari")
    with opened(file) as content:
        names = sorted((str(name) for name in content), key=_number)
        if not names:
            raise UserError(f"{file} holds no episodes; copy it again")
        first = group_of(content, names[0], file=file)
        cameras = [name for name in cameras_in(first) if name.startswith(_OBSERVATIONS)]
        columns = columns_in(first)
    if not cameras:
        raise UserError(
            f"{file} holds no image observations; record them with Minari's DataCollector around an "
            "environment that observes pixels (gymnasium's AddRenderObservation)"
        )
    short = [name.removeprefix(f"{_OBSERVATIONS}/") for name in cameras]
    camera = choose_camera(options.camera, short, where=path)
    return Source(
        format="minari",
        path=path,
        environment=str(metadata.get("dataset_id") or path.resolve().name),
        fps=None,
        cameras=short,
        camera=camera,
        episodes=[
            Episode(
                name=name,
                file=file,
                read=partial(_read, file, name, cameras[short.index(camera)], options=options),
            )
            for name in names
        ],
        files=all_files(path / "data"),
        columns=columns,
    )


def _recognises(path: Path) -> bool:
    return (path / "data" / "metadata.json").is_file()


FORMAT = Format(summary="Minari data set (HDF5)", recognises=_recognises, open=open_minari)


def _read(file: Path, name: str, camera: str, *, options: ReadOptions) -> Recording:
    with opened(file) as content:
        episode = group_of(content, name, file=file)
        if camera not in cameras_in(episode):
            raise UserError(f"{file}: {name} has no camera {camera!r}")
        num_frames = len(dataset_of(episode, camera, file=file))
        actions = rows_of(episode, options.action_key or "actions", file=file)
        if not np.issubdtype(actions.dtype, np.floating):
            raise UserError(f"{file}: actions are {actions.dtype}; models take vectors of numbers")
        return Recording(
            num_frames=num_frames,
            actions=actions,
            proprio=_proprio(episode, file, options),
            frames=partial(read_frames, file, f"{name}/{camera}"),
            count_frames=lambda: num_frames,
        )


def _proprio(
    episode: "h5py.Group", file: Path, options: ReadOptions
) -> Shaped[np.ndarray, "n d"] | None:
    if options.proprio_key == "none":
        return None
    if options.proprio_key is not None:
        names = [f"{_OBSERVATIONS}/{name}" for name in options.proprio_key.split(",")]
    else:
        names = [
            name
            for name, data in datasets_in(episode).items()
            if name.startswith(_OBSERVATIONS)
            and "goal" not in name
            and data.ndim == 2
            and np.issubdtype(data.dtype, np.floating)
        ]
    parts = [rows_of(episode, name, file=file) for name in names]
    return np.concatenate(parts, axis=1) if parts else None


def _number(name: str) -> int:
    digits = re.findall(r"\d+", name)
    return int(digits[-1]) if digits else 0


def _metadata(file: Path) -> dict[str, object]:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{file} is missing or damaged ({error}); copy it again") from error
