"""ManiSkill's recorded trajectories: `trajectory*.h5` with a JSON file beside it.

    traj_k/actions                           [T, a]
    traj_k/obs/sensor_data/<camera>/rgb      uint8 [T + 1, height, width, 3]
    traj_k/obs/agent/qpos, obs/extra/...     [T + 1, j]

Proprioception is agent/qpos. Files without observations, as they are downloaded, have no frames:
ManiSkill's own `replay_trajectory` adds them.
"""

import re
from functools import partial
from operator import itemgetter
from pathlib import Path

from jepawm.data.formats.hdf5 import Group, folder_of, hdf5_files, joined, opened, read_frames
from jepawm.data.recording import (
    Episode,
    Format,
    ReadOptions,
    Recording,
    Source,
    choose_camera,
    own_files,
    read_any,
    require_own,
)
from jepawm.errors import UserError, plain_text
from jepawm.strict_json import expect, optional_entry, read_json

_NAME = re.compile(r"traj_(\d+)")
_SENSORS, _PICTURE = "obs/sensor_data", "rgb"
_PROPRIO = "agent/qpos"


def open_maniskill(path: Path, options: ReadOptions) -> Source:
    """Open a file of trajectories, or a folder that holds some."""
    root, files = folder_of(path), hdf5_files(path)
    if not files:
        raise UserError(f"{path} holds no HDF5 file; check the path")
    found = {file: read_any([file], partial(_names, root=root)) or [""] for file in files}
    places = [(file, name) for file, names in found.items() for name in names]
    describe = partial(_describe, root=root)
    cameras, columns = read_any(places, describe, enough=itemgetter(0)) or describe(places[0])
    if not cameras:
        raise UserError(
            f"{path} holds ManiSkill trajectories without pictures; add them by `python -m "
            f"mani_skill.trajectory.replay_trajectory --traj-path {files[0].name} -o rgb "
            "--save-traj`"
        )
    camera = choose_camera(options.camera, cameras, where=path)
    whole = next((file for file, name in places if name), files[0])
    return Source(
        format="maniskill",
        path=path,
        environment=_environment(whole, root) or path.resolve().stem,
        fps=None,
        cameras=cameras,
        camera=camera,
        episodes=[
            Episode(
                name=name if len(files) == 1 else f"{name or 'all'} of {file.name}",
                file=file,
                read=partial(_read, file, name, camera=camera, root=root, options=options),
            )
            for file, name in places
        ],
        files=own_files(root, sorted([*files, *(file.with_suffix(".json") for file in files)])),
        columns=columns,
    )


def _recognises(path: Path) -> bool:
    return bool(read_any(hdf5_files(path), partial(_names, root=folder_of(path))))


FORMAT = Format(
    summary="ManiSkill trajectories (HDF5)", recognises=_recognises, open=open_maniskill
)


def _read(file: Path, name: str, *, camera: str, root: Path, options: ReadOptions) -> Recording:
    with opened(file, root=root) as content:
        episode = content.group(name)
        place = f"{_SENSORS}/{camera}/{_PICTURE}"
        num_frames = len(episode.dataset(place))
        obs = episode.group("obs")
        key = options.proprio_key or (_PROPRIO if _PROPRIO in obs.datasets() else "none")
        names = [one.removeprefix("obs/") for one in key.split(",")]
        return Recording(
            num_frames=num_frames,
            actions=joined(episode, (options.action_key or "actions").split(",")),
            proprio=None if key == "none" else joined(obs, names),
            frames=partial(read_frames, file, f"{name}/{place}", root=root),
            count_frames=lambda: num_frames,
        )


def _names(file: Path, *, root: Path) -> list[str]:
    """List the trajectories of a file in the order of their numbers; empty if it is another."""
    with opened(file, root=root) as content:
        found = [(int(one[1]), name) for name in content.names() if (one := _NAME.fullmatch(name))]
        return [name for _, name in sorted(found) if content.group(name).has("actions")]


def _describe(place: tuple[Path, str], *, root: Path) -> tuple[list[str], dict[str, str]]:
    """Return the cameras of a trajectory, and its columns in words."""
    file, name = place
    with opened(file, root=root) as content:
        episode = content.group(name)
        return _cameras(episode), episode.columns()


def _cameras(episode: Group) -> list[str]:
    places = [re.fullmatch(rf"{_SENSORS}/(.+)/{_PICTURE}", name) for name in episode.cameras()]
    return [one[1] for one in places if one]


def _environment(file: Path, root: Path) -> str | None:
    """Return the environment's id, which the JSON file beside the trajectories says."""
    beside = file.with_suffix(".json")
    if not beside.exists():
        return None
    require_own(root, beside)
    given = expect(read_json(beside, what="description"), dict, where=beside, field="the content")
    info = expect(given.get("env_info", {}), dict, where=beside, field="env_info")
    name = optional_entry(info, "env_id", str, where=beside)
    return None if name is None else plain_text(name)
