"""The reference's Push-T folder `pusht_noise/{train,val}`.

    states.pth [n, Lmax, 5], velocities.pth [n, Lmax, 2], rel_actions.pth [n, Lmax, 2] (or
    abs_actions.pth), all padded; seq_lengths.pkl: a list, an array or a tensor; obses/episode_000.mp4

State is agent x and y, block x, y and angle, agent velocity; proprioception is the agent's part.
Without velocities.pth (DINO-WM's with_velocity=False) both lack the velocity. A folder that holds
`train` alone, or `val` alone, stands for it. Actions are divided by 100, as the reference does when it loads them.
"""

from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Shaped

from jepawm.data.formats.counts import load_counts
from jepawm.data.formats.padded_tensors import load_joined, load_padded, rows_of_episode
from jepawm.data.recording import (
    Episode,
    Format,
    ReadOptions,
    Recording,
    Source,
    all_files,
    choose_camera,
    refuse_keys,
    require_own,
)
from jepawm.data.video import read_video, video_times
from jepawm.errors import UserError

_ACTION_SCALE = 100
_FPS = 10.0
_PROPRIO = (0, 1, 5, 6)
_ALL_ACTIONS = ("rel_actions", "abs_actions")
_VELOCITIES = "velocities.pth"
_CAMERA = "obses"


def open_pusht(path: Path, options: ReadOptions) -> Source:
    """Open one of the folders `train` and `val`."""
    refuse_keys(options, "proprio_key")
    camera = choose_camera(options.camera, [_CAMERA], where=path)
    parts = [part for part in ("train", "val") if (path / part / "states.pth").is_file()]
    if parts and not (path / "states.pth").is_file():
        if len(parts) > 1:
            choices = " or ".join(str(path / part) for part in parts)
            raise UserError(f"{path} holds several data sets; give {choices}")
        path = path / parts[0]
    arrays = {"states": load_padded(path, "states.pth")}
    if _is_there(path / _VELOCITIES):
        arrays["velocities"] = load_padded(path, _VELOCITIES)
    arrays["actions"] = load_joined(path, _action_key(path, options)) / _ACTION_SCALE
    lengths = load_counts(path, "seq_lengths.pkl")
    for name, width in (("states", 5), ("velocities", 2)):
        if name in arrays and arrays[name].shape[2] != width:
            raise UserError(
                f"{path / name}.pth has {arrays[name].shape[2]} numbers a step, not {width}; copy "
                "it again"
            )
    return Source(
        format="pusht",
        path=path,
        environment="pusht",
        fps=_FPS,
        cameras=[_CAMERA],
        camera=camera,
        episodes=[
            Episode(
                name=f"episode {index}",
                file=path / "obses" / f"episode_{index:03d}.mp4",
                read=partial(_read, path, index, length=int(length), arrays=arrays),
            )
            for index, length in enumerate(lengths)
        ],
        files=all_files(path),
        columns={name: f"{rows.dtype} {list(rows.shape)}" for name, rows in arrays.items()},
    )


def _recognises(path: Path) -> bool:
    parts = (path, path / "train", path / "val")
    return any((part / f"{name}.pth").is_file() for part in parts for name in _ALL_ACTIONS)


FORMAT = Format(summary="Push-T as the reference keeps it", recognises=_recognises, open=open_pusht)


def _is_there(file: Path) -> bool:
    return file.exists() or file.is_symlink()


def _action_key(path: Path, options: ReadOptions) -> str:
    """Return the name of the actions; those that are no differences are taken where named only."""
    if options.action_key is None and not _is_there(path / f"{_ALL_ACTIONS[0]}.pth"):
        raise UserError(
            f"{path} lacks {_ALL_ACTIONS[0]}.pth; copy it again, or take positions by --action-key "
            f"{_ALL_ACTIONS[1]}"
        )
    return options.action_key or _ALL_ACTIONS[0]


def _read(
    path: Path, index: int, *, length: int, arrays: dict[str, Shaped[np.ndarray, "n L _"]]
) -> Recording:
    rows = {
        name: rows_of_episode(array, index, length=length, file=path / name)
        for name, array in arrays.items()
    }
    parts = [rows[name] for name in ("states", "velocities") if name in rows]
    state = np.concatenate(parts, axis=1)
    video = path / "obses" / f"episode_{index:03d}.mp4"
    require_own(path, video)
    return Recording(
        num_frames=length,
        actions=rows["actions"],
        proprio=state[:, [column for column in _PROPRIO if column < state.shape[1]]],
        state=state,
        video=video,
        frames=partial(read_video, video, name=str(video)),
        count_frames=lambda: len(video_times(video, name=str(video))[0]),
    )
