"""The reference's folders of padded tensors: PointMaze, Wall, and DINO-WM's rope and granular.

    states.pth [n, Lmax, S], actions.pth [n, Lmax, a], obses/episode_000.pth
    PointMaze: seq_lengths.pth [n]; frames uint8 [T, height, width, 3]
    Wall: door_locations.pth and wall_locations.pth [n, Lmax, ...]; frames [T, 3, height, width]
    rope, granular: states.pth [n, L, particles, 4]; 000000/obses.pth in place of obses/

Proprioception is the state, but of rope and granular, whose particles no robot knows. Where there
is no file of lengths, all episodes are as long as the tensors. Wall's layout is appended to the state.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
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
    require_own,
)
from jepawm.errors import UserError
from jepawm.torch_files import load_tensors

_CAMERA = "obses"
_OF_NUMPY = (torch.float16, torch.float32, torch.float64)
_LARGEST_LEVEL = 255.5
"""Floats are rounded to the levels of a pixel."""


@dataclass(frozen=True, kw_only=True)
class _Variant:
    name: str
    fps: float | None
    more_state: tuple[str, ...]
    channels_first: bool
    frames: str = "obses/episode_{:03d}.pth"
    """Where the frames of an episode are."""
    knows_state: bool = True
    """Whether the state is proprioception too."""


def _open(path: Path, options: ReadOptions, *, variant: _Variant) -> Source:
    refuse_keys(options, "proprio_key")
    camera = choose_camera(options.camera, [_CAMERA], where=path)
    actions = load_joined(path, options.action_key or "actions")
    states = load_padded(path, "states.pth", ndim=3 if variant.knows_state else None)
    states = states.reshape(*states.shape[:2], -1)
    arrays = {"actions": actions, "proprio": states}
    more = [load_padded(path, f"{name}.pth", ndim=None) for name in variant.more_state]
    arrays["state"] = _joined(states, dict(zip(variant.more_state, more, strict=True)), path)
    lengths = _lengths(path, states)
    load = lru_cache(maxsize=1)(partial(_load_frames, path, variant))
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
                file=path / variant.frames.format(index),
                read=partial(
                    _read, path, index, variant, length=int(length), arrays=arrays, load=load
                ),
            )
            for index, length in enumerate(lengths)
        ],
        files=all_files(path),
        columns={
            name: f"{rows.dtype} {list(rows.shape)}"
            for name, rows in arrays.items()
            if variant.knows_state or name != "proprio"
        },
    )


def _is(path: Path, *, marker: str) -> bool:
    return (path / "states.pth").is_file() and (path / marker).is_file()


_POINTMAZE = _Variant(name="pointmaze", fps=20.0, more_state=(), channels_first=False)
_WALL = _Variant(
    name="wall", fps=None, more_state=("door_locations", "wall_locations"), channels_first=True
)
_DEFORMABLE = _Variant(
    name="deformable",
    fps=None,
    more_state=(),
    channels_first=False,
    frames="{:06d}/obses.pth",
    knows_state=False,
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
DEFORMABLE = Format(
    summary="rope and granular as DINO-WM keeps them",
    recognises=partial(_is, marker="000000/obses.pth"),
    open=partial(_open, variant=_DEFORMABLE),
)


def _joined(
    states: Shaped[np.ndarray, "n L S"], more: dict[str, np.ndarray], path: Path
) -> Shaped[np.ndarray, "n L _"]:
    """Append what else belongs to the state."""
    parts = [states]
    for name, rows in more.items():
        if rows.ndim < 2 or rows.shape[:2] != states.shape[:2]:
            raise UserError(
                f"{path / name}.pth has shape {rows.shape}, states.pth {states.shape}; they are of "
                "different data sets, or damaged: copy them again"
            )
        parts.append(rows.reshape(*rows.shape[:2], -1))
    return np.concatenate(parts, axis=2) if more else states


def _lengths(path: Path, states: Shaped[np.ndarray, "n L S"]) -> Int64[np.ndarray, " _"]:
    file = path / "seq_lengths.pth"
    if not file.exists() and not file.is_symlink():
        return np.full(len(states), states.shape[1], dtype=np.int64)
    lengths = load_array(path, file.name)
    if lengths.ndim != 1 or not _are_whole(lengths):
        raise UserError(
            f"{file} is {lengths.dtype} {lengths.shape}; expected a whole number for each episode: "
            "copy it again"
        )
    return lengths.astype(np.int64)


def _are_whole(numbers: np.ndarray) -> bool:
    if numbers.dtype.kind == "f":
        return bool((np.isfinite(numbers) & (np.rint(numbers) == numbers)).all())
    return numbers.dtype.kind in "iu"


def _read(
    path: Path,
    index: int,
    variant: _Variant,
    *,
    length: int,
    arrays: dict[str, Shaped[np.ndarray, "n L _"]],
    load: Callable[[Path], np.ndarray],
) -> Recording:
    rows = {
        name: rows_of_episode(array, index, length=length, file=path / name)
        for name, array in arrays.items()
    }
    file = path / variant.frames.format(index)
    return Recording(
        num_frames=length,
        actions=rows["actions"],
        proprio=rows["proprio"] if variant.knows_state else None,
        state=rows["state"].astype(np.float64),
        video=file,
        frames=partial(_frames, load, file),
        count_frames=lambda: len(load(file)),
    )


def _frames(
    load: Callable[[Path], np.ndarray], file: Path
) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
    for frame in load(file):
        yield np.ascontiguousarray(np.clip(np.rint(frame), 0, 255).astype(np.uint8))


def _load_frames(
    path: Path, variant: _Variant, file: Path
) -> Shaped[np.ndarray, "T height width 3"]:
    """Load the frames of an episode and check that they are levels of 0 to 255."""
    frames = load_array(path, str(file.relative_to(path)))
    if variant.channels_first and frames.ndim == 4:
        frames = frames.transpose(0, 2, 3, 1)
    return require_levels(frames, file=file)


def require_levels(
    frames: Shaped[np.ndarray, "..."], *, file: Path
) -> Shaped[np.ndarray, "T height width 3"]:
    """Check that an array is frames `[T, height, width, 3]` of levels from 0 to 255; returns it."""
    if frames.ndim != 4 or frames.shape[3] != 3 or 0 in frames.shape:
        raise UserError(f"{file} holds {frames.shape}; expected frames with three colours")
    if frames.dtype == np.uint8:
        return frames
    low, high = float(frames.min()), float(frames.max())  # NaN if any is
    if not -0.5 <= low <= high < _LARGEST_LEVEL:
        raise UserError(
            f"{file} holds pixels from {low:g} to {high:g}; expected levels of 0 to 255: save them "
            "as uint8"
        )
    if frames.dtype.kind == "f" and 0 < high <= 1:
        raise UserError(
            f"{file} holds pixels from {low:g} to {high:g}, fractions it seems; multiply by 255 "
            "and save them as uint8"
        )
    return frames


def load_padded(path: Path, name: str, *, ndim: int | None = 3) -> Shaped[np.ndarray, "n L *d"]:
    """Load numbers of all steps of all episodes; `ndim` None: of any number of dimensions."""
    rows = load_array(path, name)
    if ndim is not None and rows.ndim != ndim:
        raise UserError(
            f"{path / name} has shape {rows.shape}; expected (episodes, steps, numbers): copy it "
            "again"
        )
    return rows


def load_joined(path: Path, names: str) -> Shaped[np.ndarray, "n L d"]:
    """Load and join the tensors of which names, with commas between, are given."""
    parts = {name: load_padded(path, f"{name}.pth") for name in names.split(",")}
    if len({rows.shape[:2] for rows in parts.values()}) > 1:
        shapes = ", ".join(f"{name} {rows.shape}" for name, rows in parts.items())
        raise UserError(f"{path}: {shapes}; actions that are joined need equally many rows")
    return np.concatenate(list(parts.values()), axis=2)


def load_array(path: Path, name: str) -> Shaped[np.ndarray, "..."]:
    """Load a tensor, or a list of numbers, of a folder; runs no code that the file may hold."""
    file = path / name
    require_own(path, file)
    content = load_tensors(file)
    if isinstance(content, torch.Tensor):
        content = content.detach()
        if content.is_floating_point() and content.dtype not in _OF_NUMPY:
            content = content.float()
        if content.dtype == torch.bool:
            raise UserError(f"{file} holds true and false, not numbers; save numbers")
        return content.resolve_neg().numpy()
    if isinstance(content, np.ndarray) and content.dtype.kind in "iuf":
        return np.array(content, subok=False)
    if isinstance(content, list):
        if any(type(one) not in (int, float) or not abs(one) < 2**63 for one in content):
            raise UserError(f"{file} holds a list of more than numbers; save it as a tensor")
        return np.asarray(content)
    raise UserError(f"{file} holds a {type(content).__name__}, not a tensor; save it as a tensor")


def rows_of_episode(
    rows: Shaped[np.ndarray, "n L *d"], index: int, *, length: int, file: Path
) -> Shaped[np.ndarray, "length d"]:
    """Cut the rows of an episode out of a padded array."""
    if length < 1:
        raise UserError(f"{file}: episode {index} has length {length}; copy the lengths again")
    if index >= len(rows) or length > rows.shape[1]:
        raise UserError(
            f"{file}: shape {rows.shape} has no {length} rows for episode {index}; the lengths are "
            "those of another data set"
        )
    return rows[index, :length].reshape(length, -1)
