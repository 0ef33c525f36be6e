"""Files of torch as a border: no code runs, and what they hold are dense numbers of honest sizes."""

import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from jepawm.border import archive_members, foreign, require_claim, require_regular
from jepawm.errors import UserError, plain_text
from jepawm.numpy_pickles import numpy_stand_ins

if TYPE_CHECKING:  # the command line starts without them
    from torch import Tensor

_DEFLATE = 1032.0
"""Times that deflate makes zeros smaller at most."""


def load_tensors(file: Path, *, mapped: bool = False) -> object:
    """Load what a file of torch holds, without running code that it may hold, onto the CPU.

    Every tensor in it is dense and real, and no larger than the file; the checksums of its archive
    are right. Tensors may require gradients. NumPy scalars come as plain values, arrays as arrays.

    Args:
        file: the file.
        mapped: map tensors from disk, so that what nobody touches costs no memory.
    """
    import torch

    require_regular(file)
    records: Counter[int] | None = None
    with foreign(file, "file of tensors"):
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as archive:
                infos = archive_members(archive, file)
                records = Counter(info.file_size for info in infos if "/data/" in info.filename)
                # torch may be told to leave checksums out: then all are 0.
                damaged = archive.testzip() if any(info.CRC for info in infos) else None
            if damaged is not None:
                raise UserError(
                    f"{file} is damaged: the checksum of {plain_text(damaged)} does not match; "
                    "copy it again"
                )
        else:
            _refuse_tar(file)
        # Files of before torch 1.6 are no archives and cannot be mapped.
        mmap = mapped and records is not None
        with torch.serialization.safe_globals(list(numpy_stand_ins())):
            content = torch.load(file, map_location="cpu", weights_only=True, mmap=mmap)
        _check_tensors(content, file, records)
    return content


def _refuse_tar(file: Path) -> None:
    """Refuse what torch would take for an archive of its first years and unpack into a folder."""
    with file.open("rb") as opened:
        if not opened.read(4).startswith((b"\x80", b"PK\x03\x04")):
            raise ValueError("it is no archive of torch")


def _check_tensors(content: object, file: Path, records: Counter[int] | None) -> None:
    """Refuse tensors that are not what they look like; `records` counts an archive's by size."""
    storages: dict[int, int] = {}
    for tensor in tensors_in(content):
        problem = _tensor_problem(tensor)
        if problem:
            raise UserError(f"{file} holds a {problem} tensor; save it as a dense one of numbers")
        storage = tensor.untyped_storage()
        storages[storage._cdata] = storage.nbytes()  # noqa: SLF001
        if tensor.numel() * tensor.element_size() > storage.nbytes():  # an expanded one
            require_claim(
                tensor.numel() * tensor.element_size(), file=file, what="a tensor", ratio=_DEFLATE
            )
    if records is not None and Counter(storages.values()) - records:
        raise UserError(f"{file} is damaged: a tensor is larger than its record; copy it again")


def tensors_in(content: object) -> "Iterator[Tensor]":
    """Return all tensors in containers of any depth, which may hold themselves."""
    import torch

    seen: set[int] = set()
    waiting = [content]
    while waiting:
        value = waiting.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, Mapping):
            waiting += [*value.keys(), *value.values()]
        elif isinstance(value, list | tuple | set):
            waiting += list(value)


def _tensor_problem(tensor: "Tensor") -> str:
    """Return in a word what keeps a tensor from being numbers in memory; empty if nothing does."""
    import torch

    if tensor.is_quantized:
        return "quantised"
    if tensor.is_nested or tensor.layout != torch.strided:
        return "sparse"
    if tensor.device.type != "cpu":
        return f"{tensor.device.type} (empty)"
    if tensor.is_complex():
        return "complex"
    return ""
