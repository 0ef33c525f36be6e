"""Raw DROID: one folder for each episode.

    *.json                         which camera is which: `left_mp4_path`, `wrist_mp4_path`, ...
    trajectory.h5                  observation/robot_state/cartesian_position [T, 6],
                                   observation/robot_state/gripper_position [T]
    recordings/MP4/<serial>.mp4    one video for each camera

A source is a folder with such folders below it, or the reference's list of them: a text file
whose lines begin with the folder. Actions are differences of poses (`poses.py`). Where video and table differ by one frame, the shorter counts.
"""

from collections.abc import Sequence
from functools import partial
from itertools import islice
from pathlib import Path, PurePosixPath

import numpy as np
from jaxtyping import Float

from jepawm.border import inside
from jepawm.data.formats.hdf5 import columns_of, folder_of, opened
from jepawm.data.poses import pose_differences
from jepawm.data.recording import (
    Episode,
    Format,
    ReadOptions,
    Recording,
    Source,
    all_files,
    choose_camera,
    files_named,
    read_any,
    refuse,
    refuse_keys,
    require_own,
)
from jepawm.data.video import read_video, video_rate, video_times
from jepawm.errors import UserError, plain_text
from jepawm.foreign_files import listed
from jepawm.strict_json import entry, expect, optional_entry, read_json, read_text

_TABLE = "trajectory.h5"
_SUFFIX = "_mp4_path"
_TASK = "current_task"


def open_droid(path: Path, options: ReadOptions) -> Source:
    """Open a folder of episodes, or a list of their folders."""
    refuse_keys(options, "action_key", "proprio_key")
    root, places = folder_of(path), _folders(path)
    folders = [place for place in places if isinstance(place, Path)]
    refused = [place for place in places if isinstance(place, UserError)]
    if not folders:
        nothing = UserError(f"{path} holds no folder with {_TABLE}; check the path")
        raise next(iter(refused), nothing)
    describe = partial(_metadata, root=root)
    cameras = sorted(_cameras(read_any(folders, describe, enough=_cameras) or describe(folders[0])))
    camera = choose_camera(options.camera, cameras, where=folders[0])
    return Source(
        format="droid",
        path=path,
        environment="droid",
        fps=read_any(folders, partial(_rate, camera=camera, root=root)),
        cameras=cameras,
        camera=camera,
        episodes=[
            Episode(
                name=f"episode {index}",
                file=place if isinstance(place, Path) else path,
                read=partial(_read, place, camera, root=root)
                if isinstance(place, Path)
                else partial(refuse, place),
            )
            for index, place in enumerate(places)
        ],
        files=[file for folder in folders for file in all_files(folder)],
    )


def _recognises(path: Path) -> bool:
    if path.is_file():
        return path.suffix == ".csv" and _holds_table(_folders(path))
    files = files_named(path, _TABLE)
    if not files:
        return False
    found = read_any(files, partial(_holds_robot, root=path))
    return found is None or found  # opening what cannot be read says why


def _holds_robot(file: Path, *, root: Path) -> bool:
    with opened(file, root=root) as content:
        return content.has("observation")  # others call their tables so too


FORMAT = Format(summary="raw DROID", recognises=_recognises, open=open_droid)


def read_poses(
    file: Path, group: str, *, gripper: str, cartesian: str, root: Path
) -> Float[np.ndarray, "L 7"]:
    """Read poses `[L, 7]`: position, Euler angles and gripper."""
    with opened(file, root=root) as content:
        columns = columns_of(content.group(group), (cartesian, gripper))
    if columns[0].shape[1] != 6 or columns[1].shape[1] != 1:
        raise UserError(f"{file}: {cartesian} is {columns[0].shape}, {gripper} {columns[1].shape}")
    return np.concatenate(columns, axis=1).astype(np.float64)


def _read(folder: Path, camera: str, *, root: Path) -> Recording:
    file = folder / _TABLE
    poses = read_poses(
        file,
        "observation/robot_state",
        gripper="gripper_position",
        cartesian="cartesian_position",
        root=root,
    )
    video = _video(folder, camera, root=root)
    count, notes = len(video_times(video, name=str(video))[0]), list[str]()
    if abs(count - len(poses)) == 1:  # so it is in the released data
        notes = [
            f"the video has {count} frames, the table {len(poses)} rows; the first "
            f"{min(count, len(poses))} of both count, as in the reference"
        ]
        poses, count = poses[:count], min(count, len(poses))
    return Recording(
        num_frames=len(poses),
        actions=pose_differences(poses),
        proprio=poses,
        task=optional_entry(_metadata(folder, root=root), _TASK, str, where=folder) or "",
        video=video,
        frames=lambda: islice(read_video(video, name=str(video)), len(poses)),
        count_frames=lambda: count,
        pose_actions=True,
        notes=tuple(notes),
    )


def _folders(path: Path) -> list[Path | UserError]:
    """List the folders of all episodes, and what is wrong with those that a list may not name."""
    if path.is_dir():
        return [*sorted(file.parent for file in files_named(path, _TABLE))]
    root, found = folder_of(path), list[Path | UserError]()
    for row, line in enumerate(read_text(path, what="list of folders").splitlines(), start=1):
        name = next(iter(line.split()), None)
        if name is None:
            continue
        if Path(name).is_relative_to(root):
            name = str(Path(name).relative_to(root))
        try:
            found.append(inside(root, name, field=f"line {row}", file=path))
        except UserError as error:
            found.append(error)
    return found


def _holds_table(places: Sequence[Path | UserError]) -> bool:
    """Return whether the first folder of a list is that of an episode."""
    first = next(iter(places), None)
    return isinstance(first, UserError) or (first is not None and (first / _TABLE).is_file())


def _metadata(folder: Path, *, root: Path) -> dict[str, object]:
    """Read the .json that names cameras; others, such as lists of times, may lie beside it."""
    files = listed(folder, "*.json")
    found = read_any(files, partial(_description, root=root), enough=_cameras)
    if found is None and len(files) == 1:
        found = _description(files[0], root=root)  # says what is wrong with it
    if found is None or not _cameras(found):
        names = plain_text(", ".join(file.name for file in files)) or "none"
        raise UserError(
            f"{folder} holds no *.json that names its cameras (as left{_SUFFIX}); there is: {names}; "
            "copy it again"
        )
    return found


def _description(file: Path, *, root: Path) -> dict[str, object]:
    require_own(root, file)
    content = read_json(file, what="description of an episode")
    return expect(content, dict, where=file, field="the content")


def _cameras(metadata: dict[str, object]) -> list[str]:
    return [name.removesuffix(_SUFFIX) for name in metadata if name.endswith(_SUFFIX)]


def _rate(folder: Path, *, camera: str, root: Path) -> float | None:
    video = _video(folder, camera, root=root)
    return video_rate(video, name=str(video))


def _video(folder: Path, camera: str, *, root: Path) -> Path:
    metadata = _metadata(folder, root=root)
    key = camera + _SUFFIX
    if key not in metadata:
        known = plain_text(", ".join(sorted(_cameras(metadata))))
        raise UserError(f"{folder} has no camera {camera!r}; by --camera choose among: {known}")
    name = PurePosixPath(entry(metadata, key, str, where=folder)).name
    place = (folder / "recordings" / "MP4" / name).relative_to(root)
    return inside(root, str(place), field=key, file=folder)
