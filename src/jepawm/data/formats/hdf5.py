"""HDF5 files: opened, listed, and frames read from them piece by piece."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Shaped, UInt8

from jepawm.data.jpeg_frames import decode_picture
from jepawm.errors import UserError, missing_extra

if TYPE_CHECKING:
    import h5py

_PIECE = 32
"""Frames read at once."""


@contextmanager
def opened(file: Path) -> "Iterator[h5py.File]":
    """Open a file for reading."""
    try:
        import h5py
    except ImportError as error:
        raise missing_extra("HDF5", error, package="h5py", extra="data") from error
    if not file.is_file():
        raise UserError(f"{file} is missing; copy it again, or leave the episode out")
    try:
        with h5py.File(file, "r") as content:
            yield content
    except OSError as error:
        raise UserError(f"{file} is truncated or damaged ({error}); copy it again") from error


def rows_of(group: "h5py.Group", name: str, *, file: Path) -> Shaped[np.ndarray, "n d"]:
    """Read a column of numbers as rows `[n, d]`; `[n]` becomes `[n, 1]`."""
    data = dataset_of(group, name, file=file)
    if data.ndim not in (1, 2) or not np.issubdtype(data.dtype, np.number):
        raise UserError(
            f"{file}: {data.name} is {data.dtype} {data.shape}; expected rows of numbers"
        )
    return np.asarray(data[()]).reshape(len(data), -1)


def dataset_of(group: "h5py.Group", name: str, *, file: Path) -> "h5py.Dataset":
    """Return a data set of a group."""
    found = datasets_in(group)
    if name not in found:
        raise UserError(f"{file} lacks {name} in {group.name}; there is: {', '.join(found)}")
    return found[name]


def group_of(parent: "h5py.Group", name: str, *, file: Path) -> "h5py.Group":
    """Return a group of a group."""
    import h5py

    node = parent.get(name)
    if not isinstance(node, h5py.Group):
        raise UserError(
            f"{file} lacks the group {name}; there is: {', '.join(parent) or 'nothing'}"
        )
    return node


def datasets_in(group: "h5py.Group") -> "dict[str, h5py.Dataset]":
    """Return all data sets below a group by their path."""
    import h5py

    found: dict[str, h5py.Dataset] = {}

    def visit(name: str, node: "h5py.Group | h5py.Dataset") -> None:
        if isinstance(node, h5py.Dataset):
            found[name] = node

    group.visititems(visit)
    return found


def cameras_in(group: "h5py.Group") -> list[str]:
    """List the data sets below a group that hold frames.

    They are uint8 `[L, height, width, 3]`, or the bytes of a JPEG or PNG picture for each frame.
    """
    return [
        name
        for name, data in datasets_in(group).items()
        if _holds_pictures(data)
        or (data.dtype == np.uint8 and data.ndim == 4 and data.shape[3] == 3)
    ]


def columns_in(group: "h5py.Group") -> dict[str, str]:
    """Describe type and shape of all data sets below a group."""
    return {name: f"{data.dtype} {list(data.shape)}" for name, data in datasets_in(group).items()}


def read_frames(
    file: Path, path: str, *, rotated: bool = False
) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
    """Read the frames at `path` in the file one after the other; `rotated` turns them by 180°."""
    with opened(file) as content:
        data = dataset_of(content, path, file=file)
        for first in range(0, len(data), _PIECE):
            for row in data[first : first + _PIECE]:
                frame = decode_picture(bytes(row), name=str(file)) if row.ndim == 1 else row
                yield np.ascontiguousarray(frame[::-1, ::-1]) if rotated else frame


def hdf5_files(path: Path) -> list[Path]:
    """List the HDF5 files at or below a path."""
    if path.is_file():
        return [path] if path.suffix in (".hdf5", ".h5") else []
    return sorted([*path.rglob("*.hdf5"), *path.rglob("*.h5")])


def _holds_pictures(data: "h5py.Dataset") -> bool:
    import h5py

    return data.ndim == 1 and h5py.check_vlen_dtype(data.dtype) == np.uint8
