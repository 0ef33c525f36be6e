"""stable-worldmodel's data sets, on which LeWorldModel is trained: all steps in one row of each column.

    NAME.h5: pixels uint8 [N, height, width, 3] (or [N, 3, height, width]), action [N, a], ep_len [E],
             ep_offset [E], and more columns [N, ...]; or a folder of
    ep_len.npz, ep_offset.npz, action.npz, ... (the array arr_0 of each), and
    pixels/ep_0_step_0.jpeg, or pixels/ep_0.mp4

Proprioception is the column `proprio`, the simulator's state the column `state`. An action without a
number at the end of an episode, where nothing follows, is left out.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Int64, Shaped, UInt8

from jepawm.border import load_npz
from jepawm.data.formats.hdf5 import folder_of, hdf5_files, opened, read_frames
from jepawm.data.formats.proprio import note_candidates
from jepawm.data.jpeg_frames import decode_picture
from jepawm.data.recording import (
    Episode,
    Format,
    ReadOptions,
    Recording,
    Source,
    all_files,
    choose_camera,
    read_any,
    require_own,
)
from jepawm.data.video import read_video, video_rate, video_times
from jepawm.errors import UserError, plain_text
from jepawm.foreign_files import listed

_LENGTHS, _OFFSETS = "ep_len", "ep_offset"
_ACTIONS, _PROPRIO, _STATE = "action", "proprio", "state"
_INDEX = (_LENGTHS, _OFFSETS, "ep_idx", "step_idx")
_ARRAY = "arr_0"
_PICTURES = (".jpeg", ".jpg", ".png")
_STEP = re.compile(r"ep_(\d+)_step_(\d+)")
Frames = Iterator[UInt8[np.ndarray, "height width 3"]]


def open_stable_worldmodel(path: Path, options: ReadOptions) -> Source:
    """Open an HDF5 file, the folder that holds it, or a folder of columns."""
    columns = _open_folder(path) if _is_folder(path) else _open_hdf5(path)
    camera = choose_camera(options.camera, columns.cameras, where=path)
    if options.proprio_key is None and _PROPRIO not in columns.shapes:
        note_candidates(columns.shapes, where=path)
    return Source(
        format="stable-worldmodel",
        path=path,
        environment=path.resolve().stem,
        fps=columns.fps(camera),
        cameras=columns.cameras,
        camera=camera,
        episodes=[
            Episode(
                name=f"episode {index}",
                file=columns.video(camera, index) or columns.files[0],
                read=partial(_read, path, columns, index, camera=camera, options=options),
            )
            for index in range(len(columns.lengths))
        ],
        files=columns.files,
        columns=columns.shapes,
    )


def _recognises(path: Path) -> bool:
    if _is_folder(path):
        return True
    return bool(read_any(hdf5_files(path), partial(_is, root=folder_of(path))))


FORMAT = Format(
    summary="stable-worldmodel HDF5 or folder",
    recognises=_recognises,
    open=open_stable_worldmodel,
)


def _read(
    path: Path, columns: "_File | _Folder", index: int, *, camera: str, options: ReadOptions
) -> Recording:
    start, length = int(columns.offsets[index]), int(columns.lengths[index])
    if start < 0 or length < 1:
        raise UserError(
            f"{path}: episode {index} has offset {start} and length {length}; copy it again"
        )
    part = slice(start, start + length)
    proprio_key = options.proprio_key or (_PROPRIO if _PROPRIO in columns.shapes else "none")
    actions = _joined(columns, options.action_key or _ACTIONS, part)
    if np.isnan(actions[-1]).all():  # the episode has ended
        actions = actions[:-1]
    return Recording(
        num_frames=length,
        actions=actions,
        proprio=None if proprio_key == "none" else _joined(columns, proprio_key, part),
        state=_joined(columns, _STATE, part) if _STATE in columns.shapes else None,
        video=columns.video(camera, index),
        frames=partial(columns.frames, camera, index=index, part=part),
        count_frames=partial(columns.count, camera, index=index, part=part),
    )


def _joined(columns: "_File | _Folder", names: str, part: slice) -> Shaped[np.ndarray, "n d"]:
    missing = [name for name in names.split(",") if name not in columns.shapes]
    if missing:
        known = plain_text(", ".join(columns.shapes))
        raise UserError(f"there is no column {plain_text(missing[0])!r}; choose among: {known}")
    return np.concatenate([columns.rows(name, part) for name in names.split(",")], axis=1)


def _is(file: Path, *, root: Path) -> bool:
    with opened(file, root=root) as content:
        return content.has(_LENGTHS) and content.has(_ACTIONS)


@dataclass(frozen=True, kw_only=True)
class _File:
    """The layout in one HDF5 file; `part` is where an episode lies among all steps."""

    root: Path
    files: list[Path]
    lengths: Int64[np.ndarray, " E"]
    offsets: Int64[np.ndarray, " E"]
    shapes: Mapping[str, str]
    cameras: list[str]

    def rows(self, name: str, part: slice) -> Shaped[np.ndarray, "n d"]:
        with opened(self.files[0], root=self.root) as content:
            return content.rows(name, part)

    def frames(self, camera: str, *, index: int, part: slice) -> Frames:
        del index
        return read_frames(self.files[0], camera, root=self.root, part=part)

    def count(self, camera: str, *, index: int, part: slice) -> int:
        del index
        with opened(self.files[0], root=self.root) as content:
            return len(range(*part.indices(len(content.dataset(camera)))))

    def video(self, _camera: str, _index: int) -> None:
        return None

    def fps(self, _: str) -> None:
        return None


def _open_hdf5(path: Path) -> _File:
    root, files = folder_of(path), hdf5_files(path)
    if len(files) != 1:
        listed = ", ".join(file.name for file in files) or "none"
        raise UserError(f"{path} holds several HDF5 files, or none; give one of: {listed}")
    with opened(files[0], root=root) as content:
        lengths = content.rows(_LENGTHS)[:, 0].astype(np.int64)
        offsets = np.cumsum(lengths) - lengths
        if content.has(_OFFSETS):
            offsets = content.rows(_OFFSETS)[:, 0].astype(np.int64)
        shapes = content.columns()
        return _File(
            root=root,
            files=files,
            lengths=lengths,
            offsets=_checked(offsets, lengths, path),
            shapes={name: text for name, text in shapes.items() if name not in _INDEX},
            cameras=content.cameras(),
        )


def _checked(
    offsets: Int64[np.ndarray, " n"], lengths: Int64[np.ndarray, " E"], path: Path
) -> Int64[np.ndarray, " E"]:
    if len(offsets) != len(lengths):
        raise UserError(
            f"{path}: {_LENGTHS} has {len(lengths)} episodes, {_OFFSETS} {len(offsets)}; copy it again"
        )
    return offsets


def _is_folder(path: Path) -> bool:
    return all((path / f"{name}.npz").exists() for name in (_LENGTHS, _ACTIONS))


@dataclass(frozen=True, kw_only=True)
class _Folder:
    """The layout as a folder of columns; its frames are apart for each episode."""

    path: Path
    arrays: Mapping[str, Shaped[np.ndarray, "N d"]]
    files: list[Path]
    lengths: Int64[np.ndarray, " E"]
    offsets: Int64[np.ndarray, " E"]
    shapes: Mapping[str, str]
    cameras: list[str]

    def rows(self, name: str, part: slice) -> Shaped[np.ndarray, "n d"]:
        return self.arrays[name][part]

    def frames(self, camera: str, *, index: int, part: slice) -> Frames:
        del part
        file = self.video(camera, index)
        if file is not None:
            return read_video(file, name=str(file))
        return _read_pictures(self.path, _pictures(self.path / camera, index))

    def count(self, camera: str, *, index: int, part: slice) -> int:
        del part
        file = self.video(camera, index)
        if file is not None:
            return len(video_times(file, name=str(file))[0])
        return len(_pictures(self.path / camera, index))

    def video(self, camera: str, index: int) -> Path | None:
        file = self.path / camera / f"ep_{index}.mp4"
        if not (file.exists() or file.is_symlink()):
            return None
        require_own(self.path, file)
        return file

    def fps(self, camera: str) -> float | None:
        files = (file for index in range(len(self.lengths)) if (file := self.video(camera, index)))
        return read_any(files, lambda file: video_rate(file, name=str(file)))


def _open_folder(path: Path) -> _Folder:
    arrays: dict[str, np.ndarray] = {}
    for file in listed(path, "*.npz"):
        require_own(path, file)
        rows = load_npz(file, [_ARRAY])[_ARRAY]
        if rows.ndim and len(rows) and rows.dtype.kind in "biuf":
            arrays[file.stem] = rows.reshape(len(rows), -1)
    if _LENGTHS not in arrays:
        raise UserError(f"{path}/{_LENGTHS}.npz holds no lengths; copy it again")
    lengths = arrays.pop(_LENGTHS)[:, 0].astype(np.int64)
    offsets = arrays.pop(_OFFSETS, (np.cumsum(lengths) - lengths)[:, None])[:, 0].astype(np.int64)
    folders = sorted(one for one in path.iterdir() if one.is_dir())
    return _Folder(
        path=path,
        arrays=arrays,
        files=all_files(path),
        lengths=lengths,
        offsets=_checked(offsets, lengths, path),
        shapes={name: f"{rows.dtype} {list(rows.shape)}" for name, rows in arrays.items()},
        cameras=[one.name for one in folders if any(one.glob("ep_*"))],
    )


def _pictures(folder: Path, episode: int) -> list[Path]:
    """List the pictures of an episode in the order of its steps."""
    found = [
        (int(name[2]), file)
        for file in folder.glob(f"ep_{episode}_step_*")
        if file.suffix in _PICTURES and (name := _STEP.fullmatch(file.stem))
    ]
    return [file for _, file in sorted(found)]


def _read_pictures(path: Path, files: list[Path]) -> Frames:
    for file in files:
        require_own(path, file)
        yield decode_picture(file.read_bytes(), name=str(file))
