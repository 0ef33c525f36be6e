"""Raw DROID: one folder for each episode.

    *.json                         which camera is which: `left_mp4_path`, `wrist_mp4_path`, ...
    trajectory.h5                  observation/robot_state/cartesian_position [T, 6],
                                   observation/robot_state/gripper_position [T]
    recordings/MP4/<serial>.mp4    one video for each camera

A source is a folder with such folders below it, or the reference's list of them: a text file
whose lines begin with the folder. Actions are differences of poses (`poses.py`).
"""

import json
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np
from jaxtyping import Float

from jepawm.data.formats.hdf5 import group_of, opened, rows_of
from jepawm.data.recording import (
    Episode,
    Format,
    ReadOptions,
    Recording,
    Source,
    all_files,
    choose_camera,
    pose_differences,
    read_any,
    refuse_keys,
)
from jepawm.data.video import read_video, video_rate, video_times
from jepawm.errors import UserError

_TABLE = "trajectory.h5"
_SUFFIX = "_mp4_path"
_TASK = "current_task"


def open_droid(path: Path, options: ReadOptions) -> Source:
    """Open a folder of episodes, or a list of their folders."""
    refuse_keys(options, "action_key", "proprio_key")
    folders = _folders(path)
    if not folders:
        raise UserError(f"{path} holds no folder with {_TABLE}; check the path")
    cameras = sorted(_cameras(read_any(folders, _metadata) or _metadata(folders[0])))
    camera = choose_camera(options.camera, cameras, where=folders[0])
    return Source(
        format="droid",
        path=path,
        environment="droid",
        fps=read_any(folders, partial(_rate, camera=camera)),
        cameras=cameras,
        camera=camera,
        episodes=[
            Episode(name=f"episode {index}", file=folder, read=partial(_read, folder, camera))
            for index, folder in enumerate(folders)
        ],
        files=[file for folder in folders for file in all_files(folder)],
    )


def _recognises(path: Path) -> bool:
    if path.is_file():
        return path.suffix == ".csv" and all((one / _TABLE).is_file() for one in _folders(path)[:1])
    return next(path.rglob(_TABLE), None) is not None


FORMAT = Format(summary="raw DROID", recognises=_recognises, open=open_droid)


def read_poses(file: Path, group: str, *, gripper: str, cartesian: str) -> Float[np.ndarray, "L 7"]:
    """Read poses `[L, 7]`: position, Euler angles and gripper."""
    with opened(file) as content:
        robot = group_of(content, group, file=file)
        columns = [rows_of(robot, name, file=file) for name in (cartesian, gripper)]
    if len(columns[0]) != len(columns[1]) or columns[0].shape[1] != 6:
        raise UserError(f"{file}: {cartesian} is {columns[0].shape}, {gripper} {columns[1].shape}")
    return np.concatenate(columns, axis=1).astype(np.float64)


def _read(folder: Path, camera: str) -> Recording:
    file = folder / _TABLE
    poses = read_poses(
        file,
        "observation/robot_state",
        gripper="gripper_position",
        cartesian="cartesian_position",
    )
    video = _video(folder, camera)
    return Recording(
        num_frames=len(poses),
        actions=pose_differences(poses),
        proprio=poses,
        task=str(_metadata(folder).get(_TASK) or ""),
        video=video,
        frames=partial(read_video, video, name=str(video)),
        count_frames=lambda: len(video_times(video, name=str(video))[0]),
        pose_actions=True,
    )


def _folders(path: Path) -> list[Path]:
    if path.is_dir():
        return sorted(file.parent for file in path.rglob(_TABLE))
    lines = path.read_text(encoding="utf-8").splitlines()
    names = [line.split()[0] for line in lines if line.strip()]
    return [path.parent / name for name in names]


def _metadata(folder: Path) -> dict[str, object]:
    files = sorted(folder.glob("*.json"))
    if not files:
        raise UserError(f"{folder} holds no *.json that names its cameras; copy it again")
    try:
        return json.loads(files[0].read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{files[0]} is truncated or altered ({error}); copy it again") from error


def _cameras(metadata: dict[str, object]) -> list[str]:
    return [name.removesuffix(_SUFFIX) for name in metadata if name.endswith(_SUFFIX)]


def _rate(folder: Path, *, camera: str) -> float:
    video = _video(folder, camera)
    return video_rate(video, name=str(video))


def _video(folder: Path, camera: str) -> Path:
    metadata = _metadata(folder)
    if camera + _SUFFIX not in metadata:
        known = ", ".join(sorted(_cameras(metadata)))
        raise UserError(f"{folder} has no camera {camera!r}; by --camera choose among: {known}")
    return folder / "recordings" / "MP4" / PurePosixPath(str(metadata[camera + _SUFFIX])).name
