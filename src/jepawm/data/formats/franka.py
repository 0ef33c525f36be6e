"""The reference's Franka recordings: `**/episode.h5`.

    episode_data/observation/{cartesian_position [T, 6], gripper_position [T],
                              exterior_image_2_left [T, height, width, 3] uint8, ...}

Actions are differences of poses (`poses.py`); 30 frames per second are assumed, as in the reference.
"""

from functools import partial
from pathlib import Path

from jepawm.data.formats.droid import read_poses
from jepawm.data.formats.hdf5 import cameras_in, dataset_of, group_of, opened, read_frames
from jepawm.data.recording import (
    Episode,
    Format,
    ReadOptions,
    Recording,
    Source,
    choose_camera,
    pose_differences,
    read_any,
    refuse_keys,
)
from jepawm.errors import UserError

_NAME = "episode.h5"
_GROUP = "episode_data/observation"
_FPS = 30.0


def open_franka(path: Path, options: ReadOptions) -> Source:
    """Open a folder of recordings, or one of them."""
    refuse_keys(options, "action_key", "proprio_key")
    files = _files(path)
    if not files:
        raise UserError(f"{path} holds no {_NAME}; check the path")
    cameras = read_any(files, _cameras) or _cameras(files[0])
    camera = choose_camera(options.camera, cameras, where=files[0])
    return Source(
        format="franka",
        path=path,
        environment="franka",
        fps=_FPS,
        cameras=cameras,
        camera=camera,
        episodes=[
            Episode(name=f"episode {index}", file=file, read=partial(_read, file, camera))
            for index, file in enumerate(files)
        ],
        files=files,
    )


def _recognises(path: Path) -> bool:
    return bool(_files(path))


FORMAT = Format(summary="Franka HDF5 of the reference", recognises=_recognises, open=open_franka)


def _read(file: Path, camera: str) -> Recording:
    cameras = _cameras(file)
    if camera not in cameras:
        known = ", ".join(cameras)
        raise UserError(f"{file} has no camera {camera!r}; by --camera choose among: {known}")
    poses = read_poses(file, _GROUP, gripper="gripper_position", cartesian="cartesian_position")
    with opened(file) as content:
        num_frames = len(dataset_of(content, f"{_GROUP}/{camera}", file=file))
    return Recording(
        num_frames=len(poses),
        actions=pose_differences(poses),
        proprio=poses,
        frames=partial(read_frames, file, f"{_GROUP}/{camera}"),
        count_frames=lambda: num_frames,
        pose_actions=True,
    )


def _cameras(file: Path) -> list[str]:
    with opened(file) as content:
        return cameras_in(group_of(content, _GROUP, file=file))


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path] if path.name == _NAME else []
    return sorted(path.rglob(_NAME))
