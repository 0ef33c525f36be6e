"""The reference's folders of padded tensors: PointMaze and Wall.

    states.pth [n, Lmax, S], actions.pth [n, Lmax, a], obses/episode_000.pth
    PointMaze: seq_lengths.pth [n]; frames uint8 [T, height, width, 3]
    Wall: door_locations.pth and wall_locations.pth [n, Lmax, ...]; frames [T, 3, height, width]

Proprioception is the state. Wall has no file of lengths: all episodes are as long as the tensors.
Its layout is appended to the state.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Int64, Shaped, UInt8

from jepawm.data.formats.torch_files import load_array, rows_of_episode
from jepawm.data.recording import (
    Episode,
    Format,
    ReadOptions,
    Recording,
    Source,
    all_files,
    choose_camera,
    refuse_keys,
)
from jepawm.errors import UserError

_CAMERA = "obses"


@dataclass(frozen=True, kw_only=True)
class _Variant:
    name: str
    fps: float | None
    more_state: tuple[str, ...]
    channels_first: bool


def _open(path: Path, options: ReadOptions, *, variant: _Variant) -> Source:
    refuse_keys(options, "proprio_key")
    camera = choose_camera(options.camera, [_CAMERA], where=path)
    actions = load_array(path / f"{options.action_key or 'actions'}.pth")
    states = load_array(path / "states.pth")
    more = [load_array(path / f"{name}.pth") for name in variant.more_state]
    flat = [rows.reshape(*rows.shape[:2], -1) for rows in more]
    arrays = {"actions": actions, "proprio": states}
    arrays["state"] = np.concatenate([states, *flat], axis=2) if flat else states
    lengths = _lengths(path, states)
    return Source(
        format=variant.name,
        path=path,
        environment=variant.name,
        fps=variant.fps,
        cameras=[_CAMERA],
        camera=camera,
        episodes=[
            Episode(
                name=f"episode {index}",
                file=path / "obses" / f"episode_{index:03d}.pth",
                read=partial(
                    _read, path, index, length=int(length), arrays=arrays, variant=variant
                ),
            )
            for index, length in enumerate(lengths)
        ],
        files=all_files(path),
        columns={name: f"{rows.dtype} {list(rows.shape)}" for name, rows in arrays.items()},
    )


def _is(path: Path, *, marker: str) -> bool:
    return (path / "states.pth").is_file() and (path / marker).is_file()


_POINTMAZE = _Variant(name="pointmaze", fps=20.0, more_state=(), channels_first=False)
_WALL = _Variant(
    name="wall", fps=None, more_state=("door_locations", "wall_locations"), channels_first=True
)
FORMAT = Format(
    summary="PointMaze as the reference keeps it",
    recognises=partial(_is, marker="seq_lengths.pth"),
    open=partial(_open, variant=_POINTMAZE),
)
WALL = Format(
    summary="Wall as the reference keeps it",
    recognises=partial(_is, marker="door_locations.pth"),
    open=partial(_open, variant=_WALL),
)


def _lengths(path: Path, states: Shaped[np.ndarray, "n L S"]) -> Int64[np.ndarray, " n"]:
    file = path / "seq_lengths.pth"
    if not file.is_file():
        return np.full(len(states), states.shape[1], dtype=np.int64)
    return load_array(file).astype(np.int64)


def _read(
    path: Path,
    index: int,
    *,
    length: int,
    arrays: dict[str, Shaped[np.ndarray, "n L _"]],
    variant: _Variant,
) -> Recording:
    rows = {
        name: rows_of_episode(array, index, length=length, file=path / name)
        for name, array in arrays.items()
    }
    file = path / "obses" / f"episode_{index:03d}.pth"
    return Recording(
        num_frames=length,
        actions=rows["actions"],
        proprio=rows["proprio"],
        state=rows["state"].astype(np.float64),
        video=file,
        frames=partial(_frames, file, channels_first=variant.channels_first),
        count_frames=lambda: len(load_array(file)),
    )


def _frames(file: Path, *, channels_first: bool) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
    frames = load_array(file)
    if channels_first and frames.ndim == 4:
        frames = frames.transpose(0, 2, 3, 1)
    if frames.ndim != 4 or frames.shape[3] != 3:
        raise UserError(f"{file} holds {frames.shape}; expected frames with three colours")
    for frame in frames:
        yield np.ascontiguousarray(np.clip(np.rint(frame), 0, 255).astype(np.uint8))
