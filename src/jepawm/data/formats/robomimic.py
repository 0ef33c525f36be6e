"""robomimic HDF5 files, and those of RoboCasa, which add a camera convention and a pose.

    data                  attribute env_args: JSON with env_name and env_kwargs (control_freq)
    data/demo_k/actions   [T, a]
    data/demo_k/states    [T, S], optional
    data/demo_k/obs/*     [T, ...]: frames (<camera>_image, uint8 [T, height, width, 3]) and numbers

A file that robomimic wrote with no image observations has none here either: run robomimic's own
`dataset_states_to_obs.py` first. Of RoboCasa (`robocasa`), as in the reference: the first 7 actions
count; proprioception is position, Euler angles of the quaternion read as w, x, y, z, and the opening
of the gripper; cameras with "right" in their name are turned by 180°.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Shaped

from jepawm.data.formats.hdf5 import (
    cameras_in,
    columns_in,
    dataset_of,
    group_of,
    hdf5_files,
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
    choose_camera,
    euler_angles,
    quaternion_matrices,
)
from jepawm.errors import UserError

if TYPE_CHECKING:
    import h5py

_POSE = ("robot0_eef_pos", "robot0_eef_quat", "robot0_gripper_qpos")
_ROBOCASA_ACTIONS = 7
Rows = Shaped[np.ndarray, "n d"]


@dataclass(frozen=True, kw_only=True)
class _Variant:
    name: str
    actions: Callable[[Rows], Rows]
    proprio: "Callable[[h5py.Group, Path], Rows | None]"
    rotated: Callable[[str], bool]


def _open(path: Path, options: ReadOptions, *, variant: _Variant) -> Source:
    files = hdf5_files(path)
    if not files:
        raise UserError(f"{path} holds no HDF5 file; check the path")
    demos = {}
    for file in files:
        with opened(file) as content:
            demos[file] = sorted((str(name) for name in _data(content, file)), key=_number)
    with opened(files[0]) as content:
        data = _data(content, files[0])
        first = group_of(data, demos[files[0]][0], file=files[0])
        cameras = cameras_in(group_of(first, "obs", file=files[0]))
        columns = columns_in(first)
        arguments = json.loads(str(data.attrs.get("env_args", "{}")))
    camera = choose_camera(options.camera, cameras, where=files[0])
    episodes = [
        Episode(
            name=name if len(files) == 1 else f"{name} of {file.name}",
            file=file,
            read=partial(_read, file, name, camera, options=options, variant=variant),
        )
        for file, names in demos.items()
        for name in names
    ]
    rate = arguments.get("env_kwargs", {}).get("control_freq")
    return Source(
        format=variant.name,
        path=path,
        environment=arguments.get("env_name") or files[0].stem,
        fps=None if rate is None else float(rate),
        cameras=cameras,
        camera=camera,
        episodes=episodes,
        files=files,
        columns=columns,
    )


def _read(
    file: Path, name: str, camera: str, *, options: ReadOptions, variant: _Variant
) -> Recording:
    with opened(file) as content:
        demo = group_of(_data(content, file), name, file=file)
        obs = group_of(demo, "obs", file=file)
        frames = cameras_in(obs)
        if camera not in frames:
            raise UserError(f"{file}: {name} has no camera {camera!r}, but: {', '.join(frames)}")
        actions = rows_of(demo, options.action_key or "actions", file=file)
        if options.proprio_key is None:
            proprio = variant.proprio(obs, file)
        elif options.proprio_key == "none":
            proprio = None
        else:
            keys = options.proprio_key.split(",")
            proprio = np.concatenate([rows_of(obs, key, file=file) for key in keys], axis=1)
        state = rows_of(demo, "states", file=file) if "states" in demo else None
        num_frames = len(dataset_of(obs, camera, file=file))
        task = json.loads(str(demo.attrs.get("ep_meta", "{}"))).get("lang", "")
        return Recording(
            num_frames=num_frames,
            actions=actions if options.action_key else variant.actions(actions),
            proprio=proprio,
            state=state,
            task=task,
            frames=partial(
                read_frames, file, f"data/{name}/obs/{camera}", rotated=variant.rotated(camera)
            ),
            count_frames=lambda: num_frames,
        )


def _data(content: "h5py.File", file: Path) -> "h5py.Group":
    data = group_of(content, "data", file=file)
    if not len(data):
        raise UserError(f"{file} has no demos in data/; copy it again")
    return data


def _number(name: str) -> tuple[int, str]:
    digits = re.findall(r"\d+", name)
    return (int(digits[-1]) if digits else 0, name)


def _usual_proprio(obs: "h5py.Group", file: Path) -> Rows | None:
    parts = [rows_of(obs, name, file=file) for name in _POSE if name in obs]
    return np.concatenate(parts, axis=1) if parts else None


def _pose_proprio(obs: "h5py.Group", file: Path) -> Rows | None:
    position, quaternion, gripper = (rows_of(obs, name, file=file) for name in _POSE)
    angles = euler_angles(quaternion_matrices(quaternion.astype(np.float64)))
    opening = gripper[:, :1] - gripper[:, 1:2]
    return np.concatenate([position, angles, opening], axis=1)


_ROBOMIMIC = _Variant(
    name="robomimic",
    actions=lambda actions: actions,
    proprio=_usual_proprio,
    rotated=lambda _: False,
)
_ROBOCASA = _Variant(
    name="robocasa",
    actions=lambda actions: actions[:, :_ROBOCASA_ACTIONS],
    proprio=_pose_proprio,
    rotated=lambda camera: "right" in camera,
)


def _is(path: Path, *, robocasa: bool) -> bool:
    files = hdf5_files(path)
    if not files:
        return False
    with opened(files[0]) as content:
        if "data" not in content:
            return False
        data = group_of(content, "data", file=files[0])
        if not any(str(name).startswith("demo") for name in data):
            return False
        arguments = str(data.attrs.get("env_args", "")).lower()
        return robocasa == any(word in arguments for word in ("robocasa", "pandaomron"))


FORMAT = Format(
    summary="robomimic HDF5",
    recognises=partial(_is, robocasa=False),
    open=partial(_open, variant=_ROBOMIMIC),
)
ROBOCASA = Format(
    summary="RoboCasa HDF5",
    recognises=partial(_is, robocasa=True),
    open=partial(_open, variant=_ROBOCASA),
)
