"""Tensors that others saved by `torch.save`, and lists of counts that they pickled."""

import pickletools
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int64, Shaped

from jepawm.errors import UserError

_Refused = torch.serialization.pickle.UnpicklingError  # pyright: ignore[reportPrivateImportUsage]
_COUNTS = ("BININT", "BININT1", "BININT2", "INT", "LONG", "LONG1")
_LIST = ("PROTO", "FRAME", "EMPTY_LIST", "LIST", "MARK", "APPEND", "APPENDS", "MEMOIZE", "STOP")
_MEMO = ("BINPUT", "LONG_BINPUT", "PUT")


def load_array(file: Path) -> Shaped[np.ndarray, "..."]:
    """Load a tensor, or a list of numbers, without running code that the file may hold.

    Raises:
        UserError: if the file is missing, damaged, or holds something else.
    """
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
    """Read a pickled list of whole numbers, without unpickling.

    Raises:
        UserError: if the file is missing, truncated, or holds anything else.
    """
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
    """Cut the rows of an episode out of a padded array.

    Raises:
        UserError: if the array is too short.
    """
    if index >= len(rows) or length > rows.shape[1]:
        raise UserError(
            f"{file}: shape {rows.shape} has no {length} rows for episode {index}; the lengths are "
            "those of another data set"
        )
    return rows[index, :length].reshape(length, -1)
