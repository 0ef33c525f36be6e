"""D4RL's HDF5 files: all steps in one row of each column, and where episodes end.

    actions [N, a]; observations [N, S]; terminals [N], timeouts [N]; or, as V-D4RL keeps pictures,
    action [N, a]; observation uint8 [N, 3, height, width]; step_type [N]

Files of states alone are recognised and refused with what to do. Where step_type (0 the first step, 2 the last) says what a step
is, as in dm_env, row t of the actions led to frame t, and the rows are moved by one.
"""

from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Shaped

from jepawm.data.formats.hdf5 import Group, folder_of, hdf5_files, joined, opened, read_frames
from jepawm.data.formats.proprio import note_candidates
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
from jepawm.errors import UserError

_ACTIONS = ("actions", "action")
_ENDS = ("terminals", "timeouts")
_KIND = "step_type"
_LAST = 2


def open_d4rl(path: Path, options: ReadOptions) -> Source:
    """Open a file, or a folder of them."""
    root, files = folder_of(path), hdf5_files(path)
    if not files:
        raise UserError(f"{path} holds no HDF5 file; check the path")
    describe = partial(_describe, root=root)
    cameras, columns = read_any(files, describe) or describe(files[0])
    if not cameras:
        raise UserError(
            f"{path} is a D4RL data set of states without pictures; render each state (infos/qpos "
            "and infos/qvel set the simulator) and write one file for each episode by np.savez("
            "'episode_0.npz', frames=frames, actions=actions, proprio=observations)"
        )
    if options.proprio_key is None:
        note_candidates(columns, where=path)
    camera = choose_camera(options.camera, cameras, where=path)
    episodes = []
    for file in files:
        parts = read_any([file], partial(_parts, root=root)) or [slice(0, 1)]
        more = "" if len(files) == 1 else f" of {file.name}"
        episodes += [
            Episode(
                name=f"episode {index}{more}",
                file=file,
                read=partial(_read, file, part, camera=camera, root=root, options=options),
            )
            for index, part in enumerate(parts)
        ]
    return Source(
        format="d4rl",
        path=path,
        environment=path.resolve().stem,
        fps=None,
        cameras=cameras,
        camera=camera,
        episodes=episodes,
        files=own_files(root, files),
        columns=columns,
    )


def _recognises(path: Path) -> bool:
    return bool(read_any(hdf5_files(path), partial(_is, root=folder_of(path))))


FORMAT = Format(summary="D4RL or V-D4RL HDF5", recognises=_recognises, open=open_d4rl)


def _is(file: Path, *, root: Path) -> bool:
    with opened(file, root=root) as content:
        return any(content.has(name) for name in _ACTIONS) and any(
            content.has(name) for name in (*_ENDS, _KIND)
        )


def _read(file: Path, part: slice, *, camera: str, root: Path, options: ReadOptions) -> Recording:
    with opened(file, root=root) as content:
        keys = options.action_key or next(name for name in _ACTIONS if content.has(name))
        num_frames = len(range(*part.indices(len(content.dataset(camera)))))
        shift = int(content.has(_KIND))
        moved = slice(part.start + shift, part.stop)
        proprio = None
        if options.proprio_key not in (None, "none"):
            proprio = joined(content, options.proprio_key.split(","))[part]
        return Recording(
            num_frames=num_frames,
            actions=np.concatenate([content.rows(key, moved) for key in keys.split(",")], axis=1),
            proprio=proprio,
            frames=partial(read_frames, file, camera, root=root, part=part),
            count_frames=lambda: num_frames,
        )


def _describe(file: Path, *, root: Path) -> tuple[list[str], dict[str, str]]:
    """Return the cameras of a file, and its columns in words."""
    with opened(file, root=root) as content:
        return content.cameras(), content.columns()


def _parts(file: Path, *, root: Path) -> list[slice]:
    """List where the episodes of a file lie; the last one may have no end of its own."""
    with opened(file, root=root) as content:
        ends = np.flatnonzero(_ends(content)) + 1
        num_rows = len(content.dataset(next(one for one in _ACTIONS if content.has(one))))
    stops = [int(end) for end in ends if end < num_rows] + [num_rows]
    return [slice(*pair) for pair in zip([0, *stops[:-1]], stops, strict=True)]


def _ends(content: Group) -> Shaped[np.ndarray, " N"]:
    if content.has(_KIND):
        return content.rows(_KIND)[:, 0] == _LAST
    flags = [content.rows(name)[:, 0] != 0 for name in _ENDS if content.has(name)]
    if len({len(one) for one in flags}) != 1:
        raise UserError(
            f"{content.file}: {' and '.join(_ENDS)} have several lengths; copy it again"
        )
    return np.logical_or.reduce(flags)
