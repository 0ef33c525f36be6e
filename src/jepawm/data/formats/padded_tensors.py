"""The reference's folders of padded tensors: PointMaze and Wall.

    states.pth [n, Lmax, S], actions.pth [n, Lmax, a], obses/episode_000.pth
    PointMaze: seq_lengths.pth [n]; frames uint8 [T, height, width, 3]
    Wall: door_locations.pth and wall_locations.pth [n, Lmax, ...]; frames [T, 3, height, width]

Proprioception is the state. Wall has no file of lengths: all episodes are as long as the tensors.
Its layout is appended to the state.
"""

import pickletools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int64, Shaped, UInt8

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
_Refused = torch.serialization.pickle.UnpicklingError  # pyright: ignore[reportPrivateImportUsage]
_COUNTS = ("BININT", "BININT1", "BININT2", "INT", "LONG", "LONG1")
_LIST = ("PROTO", "FRAME", "EMPTY_LIST", "LIST", "MARK", "APPEND", "APPENDS", "MEMOIZE", "STOP")
_MEMO = ("BINPUT", "LONG_BINPUT", "PUT")


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


def load_array(file: Path) -> Shaped[np.ndarray, "..."]:
    """Load a tensor, or a list of numbers, without running code that the file may hold."""
    if not file.is_file():
        raise UserError(f"{file} is missing; copy it again, or leave the episode out")
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except (_Refused, RuntimeError, ValueError, EOFError, OSError, KeyError) as error:
        reason = str(error).split(". ")[0]
        raise UserError(
            f"{file} is truncated, damaged, or holds more than tensors ({reason}); copy it again, or "
            "save its content as a tensor"
        ) from error
    if isinstance(content, torch.Tensor):
        return content.numpy()
    if isinstance(content, list):
        return np.asarray(content)
    raise UserError(f"{file} holds a {type(content).__name__}, not a tensor; save it as a tensor")


def load_counts(file: Path) -> Int64[np.ndarray, " n"]:
    """Read a pickled list of whole numbers, without unpickling."""
    if not file.is_file():
        raise UserError(f"{file} is missing; copy it again")
    counts = []
    try:
        for operation, argument, _ in pickletools.genops(file.read_bytes()):
            if operation.name in _COUNTS:
                counts.append(argument)
            elif operation.name not in (*_LIST, *_MEMO):
                raise UserError(
                    f"{file} holds more than a list of whole numbers ({operation.name}); save the "
                    "lengths as a plain list of int"
                )
    except ValueError as error:
        raise UserError(f"{file} is truncated or damaged ({error}); copy it again") from error
    return np.array(counts, dtype=np.int64)


def rows_of_episode(
    rows: Shaped[np.ndarray, "n L *d"], index: int, *, length: int, file: Path
) -> Shaped[np.ndarray, "length d"]:
    """Cut the rows of an episode out of a padded array."""
    if index >= len(rows) or length > rows.shape[1]:
        raise UserError(
            f"{file}: shape {rows.shape} has no {length} rows for episode {index}; the lengths are "
            "those of another data set"
        )
    return rows[index, :length].reshape(length, -1)
