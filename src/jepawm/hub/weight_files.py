"""Read weight files of other projects: plain tensors only, mapped from disk where possible."""

import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from jepawm.errors import UserError

# torch raises it for whatever is more than tensors and containers; nothing is unpickled here.
_Refused = torch.serialization.pickle.UnpicklingError  # pyright: ignore[reportPrivateImportUsage]


def read_weight_file(path: Path, group: str | None = None) -> dict[str, Tensor]:
    """Read the tensors of a `.safetensors`, `.pth` or `.pt` file by name, onto the CPU.

    Args:
        path: the file.
        group: take this top-level entry where the file has one, as files of whole trainings do.

    Raises:
        UserError: if it is missing, truncated, no weight file, or holds more than tensors.
    """
    if not path.is_file():
        raise UserError(f"{path} is missing; give the path of a weight file that exists")
    content = _read(path)
    inner = content.get(group) if group else None
    if isinstance(inner, Mapping):
        content = inner
    tensors = {str(k): value for k, value in content.items() if isinstance(value, Tensor)}
    if not tensors:
        entries = ", ".join(str(key) for key in list(content)[:8])
        raise UserError(f"{path} has no tensors at its top (it has: {entries}); give another file")
    return tensors


def strip_prefixes(tensors: Mapping[str, Tensor], *prefixes: str) -> dict[str, Tensor]:
    """Take each prefix, in this order, off the names that begin with it."""
    stripped: dict[str, Tensor] = {}
    for name, value in tensors.items():
        for prefix in prefixes:
            name = name.removeprefix(prefix)  # noqa: PLW2901
        stripped[name] = value
    return stripped


def _read(path: Path) -> Mapping[str, object]:
    try:
        if path.suffix == ".safetensors":
            return dict(load_file(path))
        # Files of before torch 1.6 are no archives and cannot be mapped.
        mapped = zipfile.is_zipfile(path)
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except (SafetensorError, _Refused, RuntimeError, EOFError, OSError, ValueError) as error:
        raise UserError(f"cannot read {path}: {_reason(path, error)}") from error
    if not isinstance(content, Mapping):
        raise UserError(f"{path} holds a {type(content).__name__}, not tensors by name")
    return content


def _reason(path: Path, error: Exception) -> str:
    with path.open("rb") as file:
        head = file.read(512).lstrip().lower()
    if head.startswith((b"<!doctype", b"<html", b"<?xml")):
        return "it is a web page, not weights; download it again"
    first_line = str(error).splitlines()[0] if str(error) else type(error).__name__
    return f"it is truncated, or holds more than tensors ({first_line}); download it again"
