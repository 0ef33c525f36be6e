"""`.npy` files that grow row by row."""

import math
import os
from pathlib import Path

import numpy as np

from jepawm.errors import UserError

_HEADER_BYTES = 128


class ArrayFile:
    """Write an array `[F, *row_shape]` of unknown length `F` in pieces; readable by `numpy.load`."""

    def __init__(
        self, path: Path, *, row_shape: tuple[int, ...], dtype: str, keep_rows: int | None = None
    ) -> None:
        """Create the file, or go on with one.

        Args:
            path: the file; it must not exist, unless rows of it are kept.
            row_shape: shape of a row.
            dtype: a NumPy name with byte order, for example `<f4`.
            keep_rows: rows to keep of a file that is there, the rest is cut off; None creates it.
        """
        self.path = path
        self.row_shape = row_shape
        self.dtype = np.dtype(dtype)
        self.num_rows = keep_rows or 0
        how = os.O_CREAT | os.O_EXCL if keep_rows is None else 0
        self._descriptor = os.open(path, os.O_WRONLY | how | _binary(), 0o644)
        if keep_rows is not None:
            size = _HEADER_BYTES + keep_rows * math.prod(row_shape) * self.dtype.itemsize
            if os.fstat(self._descriptor).st_size < size:
                self.discard()
                raise UserError(
                    f"{path} has lost rows: {keep_rows} were written; delete its folder"
                )
            os.ftruncate(self._descriptor, size)
        self._write(memoryview(self._header()))
        os.lseek(self._descriptor, 0, os.SEEK_END)

    def append(self, rows: np.ndarray) -> None:
        """Append rows `[n, *row_shape]`, cast to the file's dtype."""
        data = np.ascontiguousarray(rows, dtype=self.dtype)
        if data.shape[1:] != self.row_shape:
            raise ValueError(f"{self.path.name}: rows {data.shape[1:]}, expected {self.row_shape}")
        if data.size:
            self._write(data.data.cast("B"))
        self.num_rows += data.shape[0]

    def flush(self) -> None:
        """Bring all rows so far to the disk."""
        os.fsync(self._descriptor)

    def close(self) -> None:
        """Write the final length into the header and flush the file to the disk."""
        try:
            os.lseek(self._descriptor, 0, os.SEEK_SET)
            self._write(memoryview(self._header()))
            os.fsync(self._descriptor)
        finally:
            self.discard()

    def discard(self) -> None:
        """Close the file as it is; does nothing if it is closed already."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _header(self) -> bytes:
        shape = (self.num_rows, *self.row_shape)
        text = f"{{'descr': {self.dtype.str!r}, 'fortran_order': False, 'shape': {shape!r}, }}"
        body = text.ljust(_HEADER_BYTES - 11) + "\n"
        return b"\x93NUMPY\x01\x00" + len(body).to_bytes(2, "little") + body.encode("ascii")

    def _write(self, data: memoryview) -> None:
        while data:  # a nearly full disk, and the kernel's limit of 2 GiB, write less than asked
            data = data[os.write(self._descriptor, data) :]


def _binary() -> int:
    return getattr(os, "O_BINARY", 0)  # Windows only
