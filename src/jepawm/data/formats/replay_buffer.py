"""Replay buffers of Diffusion Policy in zarr: a folder `NAME.zarr`, or a file `NAME.zarr.zip`.

    data/<camera>        [N, height, width, 3] (or [N, 3, height, width]), uint8 or levels as floats
    data/action          [N, a], and more columns [N, ...]
    meta/episode_ends    [E]: the row after the last one of each episode

Proprioception is `proprio`, `agent_pos`, or the pose and the gripper that UMI records; where there is
none of these, the columns that could serve are listed. The files say no rate.
"""

import logging
import math
import struct
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Shaped, UInt8

from jepawm.border import foreign, require_claim, require_inside, require_regular
from jepawm.data.formats.padded_tensors import require_levels
from jepawm.data.formats.proprio import note_candidates
from jepawm.data.recording import (
    Episode,
    Format,
    ReadOptions,
    Recording,
    Source,
    all_files,
    choose_camera,
)
from jepawm.data.video import require_size
from jepawm.errors import UserError, missing_extra, plain_text

if TYPE_CHECKING:
    import zarr

_DATA, _ENDS = "data", "meta/episode_ends"
_ACTIONS, _STATE = "action", "state"
_PROPRIO = (
    ("proprio",),
    ("agent_pos",),
    ("robot0_eef_pos", "robot0_eef_rot_axis_angle", "robot0_gripper_width"),
)
"""Usual names of proprioception; the first that is there as a whole is taken."""
_MARKERS = (".zgroup", "zarr.json")
_METADATA = (".zarray", ".zattrs", ".zgroup", ".zmetadata", "zarr.json")
_SUFFIX, _ZIP = ".zarr", ".zarr.zip"
_PIECE = 32
_LARGEST_COLUMN = 2**29
_SMALL = 2**24
_RATIO = 1032.0
"""Times that a compressor makes an array smaller at most, beyond `_SMALL` bytes."""
_LOG = logging.getLogger(__name__)


def open_replay_buffer(path: Path, options: ReadOptions) -> Source:
    """Open a buffer, or the folder that holds one."""
    place = _place(path)
    if place is None:
        raise UserError(f"{path} holds no replay buffer {_SUFFIX} or {_ZIP}, or several; give one")
    with _opened(place) as buffer:
        arrays = {name: _array(buffer, f"{_DATA}/{name}", place) for name in _names(buffer)}
        _require_honest(arrays, place)
        ends = _read(_array(buffer, _ENDS, place), slice(None), place)[:, 0].astype(np.int64)
        cameras = [name for name, array in arrays.items() if _is_camera(array)]
        columns = {name: f"{array.dtype} {list(array.shape)}" for name, array in arrays.items()}
        rows = min((array.shape[0] for array in arrays.values()), default=0)
        camera = choose_camera(options.camera, cameras, where=path)
        for name, array in arrays.items():
            _require_whole_chunks(array, f"{_DATA}/{name}", place)
        _warn_of_gaps(arrays, (camera, options.action_key or _ACTIONS), place)
    if len(ends) and (ends[0] < 1 or (np.diff(ends) < 1).any() or ends[-1] > rows):
        raise UserError(
            f"{place}: {_ENDS} are no rising ends of up to {rows} rows; copy the buffer again"
        )
    key = options.proprio_key or _usual(columns)
    if options.proprio_key is None and key == "none":
        note_candidates(columns, where=path)
    parts = [slice(*pair) for pair in zip([0, *ends[:-1].tolist()], ends.tolist(), strict=True)]
    return Source(
        format="zarr",
        path=path,
        environment=place.name.removesuffix(".zip").removesuffix(_SUFFIX),
        fps=None,
        cameras=cameras,
        camera=camera,
        episodes=[
            Episode(
                name=f"episode {index}",
                file=place,
                read=partial(
                    _recording,
                    place,
                    part,
                    camera=camera,
                    actions=options.action_key or _ACTIONS,
                    proprio=key,
                ),
            )
            for index, part in enumerate(parts)
        ],
        files=all_files(place),
        columns=columns,
    )


def _recognises(path: Path) -> bool:
    return _place(path) is not None


FORMAT = Format(
    summary="zarr replay buffer of Diffusion Policy",
    recognises=_recognises,
    open=open_replay_buffer,
)


def _place(path: Path) -> Path | None:
    """Return the buffer that a path names: itself, or the only one in a folder."""
    if path.is_file():
        return path if path.name.endswith(_ZIP) else None
    if any((path / marker).exists() for marker in _MARKERS):
        return path
    found = [one for one in path.iterdir() if one.name.endswith((_SUFFIX, _ZIP))]
    return found[0] if len(found) == 1 else None


@contextmanager
def _opened(place: Path, *, checked: bool = False) -> "Iterator[zarr.Group]":
    """Open a buffer; once its files are `checked`, not for each episode again."""
    try:
        import zarr
        from zarr.storage import LocalStore, ZipStore
    except ImportError as error:
        raise missing_extra("zarr", error, package="zarr", extra="zarr") from error
    if not checked:
        _require_own_files(place)
    with foreign(place, "zarr replay buffer"):
        is_zip = place.is_file()
        store = ZipStore(place, mode="r") if is_zip else LocalStore(place)
        try:
            yield zarr.open_group(store, mode="r")
        finally:
            store.close()


def _require_own_files(place: Path) -> None:
    if place.is_file():
        require_regular(place)
        return
    for one in place.rglob("*"):
        if one.is_symlink():
            require_inside(place, one)


def _names(buffer: "zarr.Group") -> list[str]:
    import zarr

    data = buffer.get(_DATA)
    if not isinstance(data, zarr.Group):
        return []
    return sorted(data.array_keys())


def _array(buffer: "zarr.Group", name: str, place: Path) -> "zarr.Array":
    """Return an array of numbers."""
    import zarr

    group, _, member = name.partition("/")
    parent = buffer.get(group)
    array = parent.get(member) if isinstance(parent, zarr.Group) else None
    if not isinstance(array, zarr.Array):
        raise UserError(f"{place} lacks {name}; it is no replay buffer of Diffusion Policy")
    if array.ndim < 1 or array.dtype.kind not in "biuf":
        raise UserError(f"{place}: {name} is {array.dtype} {array.shape}; expected rows of numbers")
    return array


def _require_honest(arrays: "dict[str, zarr.Array]", place: Path) -> None:
    """Compare the sizes of arrays and of their chunks with that of the files that hold them."""
    held = sum(file.stat().st_size for file in all_files(place))
    for name, array in arrays.items():
        chunk = math.prod(array.chunks) * array.dtype.itemsize
        for what, num_bytes in ((name, array.nbytes), (f"a chunk of {name}", chunk)):
            if num_bytes > _SMALL:
                require_claim(num_bytes, file=str(place), what=what, ratio=_RATIO, held=held)


def _require_whole_chunks(array: "zarr.Array", name: str, place: Path) -> None:
    """Compare each chunk of Blosc with the sizes in its own head: the library reads on behind it."""
    if not any(type(one).__name__.startswith("Blosc") for one in array.compressors):
        return
    most = math.prod(array.chunks) * array.dtype.itemsize
    for file, size, head in _heads(place, name):
        if file.rpartition("/")[2] in _METADATA:
            continue
        num_bytes, _, held = struct.unpack("<III", head.ljust(16, b"\0")[4:])
        if held != size or num_bytes > most:
            raise UserError(
                f"{place}: the chunk {plain_text(file)} is damaged ({size:,} bytes, it says "
                f"{held:,}); copy it again"
            )


def _heads(place: Path, name: str) -> Iterator[tuple[str, int, bytes]]:
    """List the files of an array: path in the buffer, size, and the first 16 bytes."""
    if place.is_dir():
        for file in all_files(place / name):
            with file.open("rb") as content:
                yield file.relative_to(place).as_posix(), file.stat().st_size, content.read(16)
        return
    with zipfile.ZipFile(place) as archive:
        for info in archive.infolist():
            if info.filename.startswith(f"{name}/") and not info.is_dir():
                with archive.open(info) as content:
                    yield info.filename, info.file_size, content.read(16)


def _is_camera(array: "zarr.Array") -> bool:
    return array.ndim == 4 and 3 in (array.shape[1], array.shape[3]) and array.dtype.kind in "uf"


def _warn_of_gaps(arrays: "dict[str, zarr.Array]", names: tuple[str, ...], place: Path) -> None:
    """Say which chunks are not there: zarr reads zeros in their place, as their writer may mean."""
    for name in names:
        array = arrays.get(name)
        if array is not None and array.nchunks_initialized < array.nchunks:
            absent = array.nchunks - array.nchunks_initialized
            _LOG.warning(
                "%s: %d of %d chunks of %s are not there and read as zeros; copy it again, unless "
                "zeros are meant",
                place,
                absent,
                array.nchunks,
                plain_text(name),
            )


def _usual(columns: dict[str, str]) -> str:
    """Return the usual names of proprioception that are there, joined by commas, or `none`."""
    whole = (names for names in _PROPRIO if set(names) <= set(columns))
    return ",".join(next(whole, ("none",)))


def _recording(place: Path, part: slice, *, camera: str, actions: str, proprio: str) -> Recording:
    num_frames = part.stop - part.start
    with _opened(place, checked=True) as buffer:
        there = _names(buffer)

        def joined(names: str) -> Shaped[np.ndarray, "n d"]:
            missing = [name for name in names.split(",") if name not in there]
            if missing:
                raise UserError(
                    f"{place} has no column {plain_text(missing[0])!r}; choose among: "
                    f"{plain_text(', '.join(there))}"
                )
            parts = [
                _read(_array(buffer, f"{_DATA}/{name}", place), part, place)
                for name in names.split(",")
            ]
            return np.concatenate(parts, axis=1)

        has_state = _STATE in there and _array(buffer, f"{_DATA}/{_STATE}", place).ndim == 2
        return Recording(
            num_frames=num_frames,
            actions=joined(actions),
            proprio=None if proprio == "none" else joined(proprio),
            state=joined(_STATE) if has_state else None,
            frames=partial(_frames, place, camera, part),
            count_frames=lambda: num_frames,
        )


def _read(array: "zarr.Array", part: slice, place: Path) -> Shaped[np.ndarray, "n d"]:
    """Read a part of a column as rows."""
    length = len(range(*part.indices(array.shape[0])))
    width = math.prod(array.shape[1:])
    if length * width * array.dtype.itemsize > _LARGEST_COLUMN:
        raise UserError(
            f"{place}: {plain_text(array.path)} is too large for a column; choose another"
        )
    with foreign(place, "zarr replay buffer"):
        return np.asarray(array[part]).reshape(length, width)


def _frames(place: Path, camera: str, part: slice) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
    with _opened(place, checked=True) as buffer:
        array = _array(buffer, f"{_DATA}/{camera}", place)
        colours_first = array.shape[3] != 3
        height, width = array.shape[2:] if colours_first else array.shape[1:3]
        require_size(width, height, name=f"{camera} of {place}")
        for first in range(part.start, part.stop, _PIECE):
            rows = np.asarray(array[first : min(first + _PIECE, part.stop)])
            rows = rows.transpose(0, 2, 3, 1) if colours_first else rows
            for frame in require_levels(rows, file=place / camera):
                whole = np.clip(np.rint(frame), 0, 255) if frame.dtype != np.uint8 else frame
                yield np.ascontiguousarray(whole.astype(np.uint8))
