"""The reference's Franka recordings: `**/episode.h5`.

    episode_data/observation/{cartesian_position [T, 6], gripper_position [T],
                              exterior_image_2_left [T, height, width, 3] uint8, ...}

Actions are differences of poses (`poses.py`); 30 frames per second are assumed, as in the reference.
"""

from functools import partial
from pathlib import Path

from jepawm.data.cameras import picture_like
from jepawm.data.formats.droid import read_poses
from jepawm.data.formats.hdf5 import folder_of, opened, read_frames
from jepawm.data.poses import pose_differences
from jepawm.data.recording import (
    Episode,
    Format,
    ReadOptions,
    Recording,
    Source,
    choose_camera,
    files_named,
    own_files,
    read_any,
    refuse_keys,
)
from jepawm.errors import UserError, plain_text

_NAME = "episode.h5"
_GROUP = "episode_data/observation"
_FPS = 30.0


def open_franka(path: Path, options: ReadOptions) -> Source:
    """Open a folder of recordings, or one of them."""
    refuse_keys(options, "action_key", "proprio_key")
    root, files = folder_of(path), _files(path)
    if not files:
        raise UserError(f"{path} holds no {_NAME}; check the path")
    find = partial(_cameras, root=root)
    cameras = read_any(files, find, enough=bool) or find(files[0])
    columns = read_any(files, partial(_columns, root=root)) or {}
    others = {name: kind for name, kind in picture_like(columns).items() if name not in cameras}
    camera = choose_camera(options.camera, cameras, where=files[0], others=others)
    return Source(
        format="franka",
        path=path,
        environment="franka",
        fps=_FPS,
        cameras=cameras,
        camera=camera,
        episodes=[
            Episode(
                name=f"episode {index}", file=file, read=partial(_read, file, camera, root=root)
            )
            for index, file in enumerate(files)
        ],
        files=own_files(root, files),
    )


def _recognises(path: Path) -> bool:
    return bool(_files(path))


FORMAT = Format(summary="Franka HDF5 of the reference", recognises=_recognises, open=open_franka)


def _read(file: Path, camera: str, *, root: Path) -> Recording:
    cameras = _cameras(file, root=root)
    if camera not in cameras:
        known = plain_text(", ".join(cameras))
        raise UserError(f"{file} has no camera {camera!r}; by --camera choose among: {known}")
    names = {"gripper": "gripper_position", "cartesian": "cartesian_position"}
    poses = read_poses(file, _GROUP, **names, root=root)
    with opened(file, root=root) as content:
        num_frames = len(content.dataset(f"{_GROUP}/{camera}"))
    return Recording(
        num_frames=len(poses),
        actions=pose_differences(poses),
        proprio=poses,
        frames=partial(read_frames, file, f"{_GROUP}/{camera}", root=root),
        count_frames=lambda: num_frames,
        pose_actions=True,
    )


def _cameras(file: Path, *, root: Path) -> list[str]:
    with opened(file, root=root) as content:
        return content.group(_GROUP).cameras()


def _columns(file: Path, *, root: Path) -> dict[str, str]:
    with opened(file, root=root) as content:
        return content.group(_GROUP).columns()


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path] if path.name == _NAME else []
    return files_named(path, _NAME)
