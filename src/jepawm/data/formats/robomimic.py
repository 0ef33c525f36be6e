"""robomimic HDF5 files, those of LIBERO, and those of RoboCasa (a camera convention and a pose).

    data                  attribute env_args: JSON with env_name and env_kwargs (control_freq);
                          of LIBERO also problem_info: JSON with language_instruction
    data/demo_k/actions   [T, a]
    data/demo_k/states    [T, S], optional
    data/demo_k/obs/*     [T, ...]: frames (<camera>_image, uint8 [T, height, width, 3]) and numbers

Unless it is named, proprioception is position, quaternion and gripper of each robot, or what LIBERO
has of its own: ee_states and gripper_states, joint_states without them. Where none of these is
there, the columns that could serve are listed.

A file that robomimic wrote with no image observations has none here either: run robomimic's own
`dataset_states_to_obs.py` first. Of RoboCasa (`robocasa`), as in the reference: the first 7 actions
count; proprioception is position, Euler angles of the quaternion read as w, x, y, z, and the opening
of the gripper; cameras with "right" in their name are turned by 180°.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from pathlib import Path

import numpy as np
from jaxtyping import Shaped

from jepawm.data.cameras import picture_like
from jepawm.data.formats.hdf5 import (
    Group,
    columns_of,
    folder_of,
    hdf5_files,
    joined,
    opened,
    read_frames,
)
from jepawm.data.formats.proprio import note_candidates
from jepawm.data.poses import euler_angles, quaternion_matrices
from jepawm.data.recording import (
    Episode,
    Format,
    ReadOptions,
    Recording,
    Source,
    choose_camera,
    own_files,
    read_any,
)
from jepawm.data.resample import is_rate
from jepawm.errors import UserError, show
from jepawm.strict_json import expect, optional_entry, parse_json

_POSE = ("robot0_eef_pos", "robot0_eef_quat", "robot0_gripper_qpos")
_POSES = re.compile(r"robot\d+_(eef_pos|eef_quat|gripper_qpos)")
_LIBERO = (
    ("ee_states", "gripper_states"),
    ("ee_pos", "ee_ori", "gripper_states"),
    ("joint_states",),
)
"""What LIBERO calls proprioception; the first that is there as a whole is taken."""
_ROBOCASA_ACTIONS = 7
_UNREAD = "all demos"
"""The one episode of a file that cannot be read; reading it says why."""
Rows = Shaped[np.ndarray, "n d"]


@dataclass(frozen=True, kw_only=True)
class _Variant:
    name: str
    actions: Callable[[Rows], Rows]
    proprio: Callable[[Group], Rows | None]
    rotated: Callable[[str], bool]


def _open(path: Path, options: ReadOptions, *, variant: _Variant) -> Source:
    files = hdf5_files(path)
    if not files:
        raise UserError(f"{path} holds no HDF5 file; check the path")
    root = folder_of(path)
    found = {file: _demos(file, root) for file in files}
    demos = [(file, name) for file, names in found.items() for name in names]
    describe = partial(_describe, root=root)
    cameras, columns = read_any(demos, describe, enough=itemgetter(0)) or describe(demos[0])
    whole = next(file for file, name in demos if name != _UNREAD)
    arguments = _arguments(whole, root)
    others = {
        name.removeprefix("obs/"): kind
        for name, kind in picture_like(columns).items()
        if name.removeprefix("obs/") not in cameras
    }
    camera = choose_camera(options.camera, cameras, where=whole, others=others)
    if options.proprio_key is None and variant.name == "robomimic":
        obs = {key.removeprefix("obs/"): what for key, what in columns.items() if "obs/" in key}
        if not _usual_names(list(obs)):
            note_candidates(obs, where=whole)
    episodes = [
        Episode(
            name=name if len(files) == 1 else f"{name} of {file.name}",
            file=file,
            read=partial(_read, file, name, camera, root=root, options=options, variant=variant),
        )
        for file, name in demos
    ]
    return Source(
        format=variant.name,
        path=path,
        environment=arguments.environment or whole.stem,
        fps=arguments.fps,
        cameras=cameras,
        camera=camera,
        episodes=episodes,
        files=own_files(root, files),
        columns=columns,
    )


def _read(
    file: Path, name: str, camera: str, *, root: Path, options: ReadOptions, variant: _Variant
) -> Recording:
    with opened(file, root=root) as content:
        demo = _data(content).group(name)
        obs = demo.group("obs")
        frames = obs.cameras()
        if camera not in frames:
            raise UserError(f"{file}: {name} has no camera {camera!r}, but: {', '.join(frames)}")
        actions = joined(demo, (options.action_key or "actions").split(","))
        if options.proprio_key is None:
            proprio = variant.proprio(obs)
        elif options.proprio_key == "none":
            proprio = None
        else:
            proprio = joined(obs, options.proprio_key.split(","))
        num_frames = len(obs.dataset(camera))
        return Recording(
            num_frames=num_frames,
            actions=actions if options.action_key else variant.actions(actions),
            proprio=proprio,
            state=demo.rows("states") if demo.has("states") else None,
            task=_task(demo) or _instruction(_data(content)),
            frames=partial(
                read_frames,
                file,
                f"data/{name}/obs/{camera}",
                root=root,
                rotated=variant.rotated(camera),
            ),
            count_frames=lambda: num_frames,
        )


@dataclass(frozen=True, kw_only=True)
class _Arguments:
    """What `env_args` says."""

    environment: str | None
    fps: float | None


def _arguments(file: Path, root: Path) -> _Arguments:
    where = f"{file}: env_args"
    with opened(file, root=root) as content:
        text = _data(content).text("env_args")
    given = expect(parse_json(text or "{}", where=where), dict, where=file, field="env_args")
    settings = expect(given.get("env_kwargs", {}), dict, where=where, field="env_kwargs")
    fps = optional_entry(settings, "control_freq", float, where=where)
    if fps is not None and not is_rate(fps):
        raise UserError(
            f"{where}: control_freq is {show(fps)}; write the frames per second, or leave it out"
        )
    return _Arguments(environment=optional_entry(given, "env_name", str, where=where), fps=fps)


def _task(demo: Group) -> str:
    text = demo.text("ep_meta")
    if text is None:
        return ""
    where = f"{demo.file}: ep_meta of {demo.node.name}"
    given = expect(parse_json(text, where=where), dict, where=where, field="ep_meta")
    return optional_entry(given, "lang", str, where=where) or ""


def _instruction(data: Group) -> str:
    """Return the instruction of all demos of a file, which LIBERO gives; empty without one."""
    text = data.text("problem_info")
    if text is None:
        return ""
    where = f"{data.file}: problem_info"
    given = expect(parse_json(text, where=where), dict, where=where, field="the content")
    words = given.get("language_instruction", "")
    if isinstance(words, list):  # as some of its files spell it, word by word
        words = "".join(expect(one, str, where=where, field="a word") for one in words)
    return expect(words, str, where=where, field="language_instruction").strip('"')


def _demos(file: Path, root: Path) -> list[str]:
    """List the demos of a file; one that cannot be read holds `_UNREAD`, which says so when read."""
    names = read_any([file], partial(_names, root=root))
    return [_UNREAD] if names is None else names


def _names(file: Path, *, root: Path) -> list[str]:
    with opened(file, root=root) as content:
        return sorted(_data(content).names(), key=_number)


def _describe(demo: tuple[Path, str], *, root: Path) -> tuple[list[str], dict[str, str]]:
    """Return the cameras of a demo, and its columns in words."""
    file, name = demo
    with opened(file, root=root) as content:
        group = _data(content).group(name)
        return group.group("obs").cameras(), group.columns()


def _data(content: Group) -> Group:
    data = content.group("data")
    if not data.names():
        raise UserError(f"{content.file} has no demos in data/; copy it again")
    return data


def _number(name: str) -> tuple[int, str]:
    digits = re.findall(r"\d+", name)
    return (int(digits[-1]) if digits else 0, name)


def _usual_proprio(obs: Group) -> Rows | None:
    names = _usual_names(obs.names())
    return joined(obs, names) if names else None


def _usual_names(names: list[str]) -> list[str]:
    """Return the names of the proprioception among all; empty if none is usual."""
    poses = [name for name in names if _POSES.fullmatch(name)]
    if poses:
        ends = [end.partition("_")[2] for end in _POSE]
        return sorted(poses, key=lambda name: (_number(name), ends.index(name.partition("_")[2])))
    whole = (one for one in _LIBERO if set(one) <= set(names))
    return list(next(whole, ()))


def _pose_proprio(obs: Group) -> Rows | None:
    position, quaternion, gripper = columns_of(obs, _POSE)
    if quaternion.shape[1] != 4 or gripper.shape[1] != 2:
        raise UserError(
            f"{obs.file}: {_POSE[1]} is {quaternion.shape}, {_POSE[2]} {gripper.shape}; expected "
            "4 and 2 numbers in a row"
        )
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


def _is(path: Path, *, name: str) -> bool:
    files = hdf5_files(path)
    if not files:
        return False
    kind = partial(_kind, root=folder_of(path))
    found = read_any(files, kind)
    return (kind(files[0]) if found is None else found) == name


def _kind(file: Path, *, root: Path) -> str:
    """Return the name of the format of a file; empty if it is another."""
    with opened(file, root=root) as content:
        if not content.has("data"):
            return ""
        data = content.group("data")
        if not any(name.startswith("demo") for name in data.names()):
            return ""
        arguments = (data.text("env_args") or "").lower()
    is_robocasa = any(word in arguments for word in ("robocasa", "pandaomron"))
    return (_ROBOCASA if is_robocasa else _ROBOMIMIC).name


FORMAT = Format(
    summary="robomimic HDF5",
    recognises=partial(_is, name=_ROBOMIMIC.name),
    open=partial(_open, variant=_ROBOMIMIC),
)
ROBOCASA = Format(
    summary="RoboCasa HDF5",
    recognises=partial(_is, name=_ROBOCASA.name),
    open=partial(_open, variant=_ROBOCASA),
)
