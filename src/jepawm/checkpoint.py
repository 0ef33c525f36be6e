"""Checkpoint folders: safetensors and JSON, replaced as a whole, loadable from the folder alone.

    config.json           the record: configuration, normaliser, versions; hashes of the other files
                          and of its own content (the seal)
    model.safetensors     world model (and the probe of physical states, where one was fitted)
    training.safetensors  optimiser moments and training heads; only in runs that can be resumed

A new checkpoint is written next to the old one and takes its place by two renames; whatever moment
a process dies at, `find_checkpoint` finds a complete one, and who reads while it is replaced reads
the one or the other. Nothing is ever unpickled.
"""

import json
import shutil
import stat
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from jepawm.border import foreign, require_regular
from jepawm.errors import UserError
from jepawm.files import content_hash, flush_to_disk, hash_file
from jepawm.records import (
    JsonValue,
    ModelRecord,
    Record,
    record_from_json,
    record_to_json,
    require_model,
)
from jepawm.strict_json import read_json

Read = TypeVar("Read")

_FORMAT = 1
_SEAL = "seal"
_REMEDY = "copy the checkpoint again"
_MOST_TRIES = 200  # a replacement takes milliseconds
_CONFIG, _MODEL, _TRAINING = "config.json", "model.safetensors", "training.safetensors"
_DTYPES = (
    *(torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.complex64, torch.bool),
    *(torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64),
)
_PICKLES = (".pt", ".pth", ".ckpt", ".pkl", ".bin", ".tar")


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """The content of a checkpoint folder."""

    record: Record
    """What it is: everything that is needed to rebuild the module."""
    tensors: dict[str, Tensor]
    """Weights by name."""
    training: dict[str, Tensor] | None = None
    """State of the training by name; None in checkpoints that are only for use."""


def save_checkpoint(folder: Path, checkpoint: Checkpoint) -> None:
    """Replace the checkpoint in `folder`; the old one stays until the new one is complete."""
    new = folder.with_name(folder.name + ".new")
    old = folder.with_name(folder.name + ".old")
    try:
        shutil.rmtree(new, ignore_errors=True)
        if new.is_symlink():  # never written through
            new.unlink()
        new.mkdir(parents=True)
        _write_files(new, checkpoint)
        if find_checkpoint(folder) == folder:
            shutil.rmtree(old, ignore_errors=True)
            folder.rename(old)
        new.rename(folder)
        shutil.rmtree(old, ignore_errors=True)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(new, ignore_errors=True)
        kept = find_checkpoint(folder)
        rest = f"the last good checkpoint is {kept}" if kept else "there is no earlier checkpoint"
        raise UserError(
            f"cannot write the checkpoint {folder} ({error}); {rest}; free some space and resume"
        ) from error


def find_checkpoint(folder: Path) -> Path | None:
    """Return the complete checkpoint at `folder`, or the one a dying process left next to it."""
    for _ in range(3):  # both names may be looked at just when they change hands
        for candidate in (folder, folder.with_name(folder.name + ".old")):
            if (candidate / _CONFIG).is_file():
                return candidate
    return None


def read_record(folder: Path) -> ModelRecord:
    """Read what a checkpoint says of its world model; no tensor is read."""

    def read() -> ModelRecord:
        path = _require_checkpoint(folder) / _CONFIG
        return require_model(record_from_json(_read_config(path), source=path), source=folder)

    return _whole(folder, read)


def load_checkpoint(folder: Path, *, with_training: bool = False) -> Checkpoint:
    """Read and verify a checkpoint, with the training state if that is wanted."""
    return _whole(folder, lambda: _load(folder, with_training=with_training))


def _whole(folder: Path, read: Callable[[], Read]) -> Read:
    """Read a checkpoint; again where it was replaced meanwhile."""
    for attempt in range(_MOST_TRIES):
        before = _identity(folder)
        try:
            return read()
        except (UserError, FileNotFoundError) as error:
            if _identity(folder) == before:
                if isinstance(error, UserError):
                    raise
                raise UserError(f"{error.filename} is missing; {_REMEDY}") from error
            time.sleep(0.001 * min(attempt, 20))
    raise UserError(f"{folder} is replaced all the time; read it when its training has ended")


def _identity(folder: Path) -> tuple[int, ...]:
    """Return what tells a checkpoint from the one that takes its place."""
    found: tuple[int, ...] = ()
    for place in (folder, folder.with_name(folder.name + ".old")):
        try:
            status = (place / _CONFIG).stat()
        except OSError:
            found += (0, 0)
        else:
            found += (status.st_ino, status.st_mtime_ns)
    return found


def _load(folder: Path, *, with_training: bool) -> Checkpoint:
    found = _require_checkpoint(folder)
    config = _read_config(found / _CONFIG)
    hashes = config.get("sha256")
    if not isinstance(hashes, dict):
        raise UserError(f"{found / _CONFIG} has no hashes; write the checkpoint again")
    tensors = _read_tensors(found / _MODEL)
    odd = [name for name, value in tensors.items() if value.dtype not in _DTYPES]
    if odd:
        raise UserError(
            f"{found / _MODEL}: {odd[0]} is of type {tensors[odd[0]].dtype}, which no model here has; "
            "write the checkpoint again"
        )
    broken = [name for name, value in tensors.items() if not bool(torch.isfinite(value).all())]
    if broken:
        raise UserError(
            f"{found / _MODEL} has NaN or infinite weights in {', '.join(broken[:5])}; "
            "use an earlier checkpoint"
        )
    _check_hash(found / _MODEL, hashes)
    training = None
    if with_training:
        if not (found / _TRAINING).is_file():
            raise UserError(f"{found} has no {_TRAINING}; it can be used but not resumed")
        training = _read_tensors(found / _TRAINING)
        _check_hash(found / _TRAINING, hashes)
    record = record_from_json(config, source=found / _CONFIG)
    return Checkpoint(record=record, tensors=tensors, training=training)


def _write_files(folder: Path, checkpoint: Checkpoint) -> None:
    save_file({k: v.contiguous() for k, v in checkpoint.tensors.items()}, folder / _MODEL)
    names = [_MODEL]
    if checkpoint.training is not None:
        training = {k: v.contiguous() for k, v in checkpoint.training.items()}
        save_file(training, folder / _TRAINING)
        names.append(_TRAINING)
    hashes: dict[str, JsonValue] = {name: hash_file(folder / name) for name in names}
    config = {**record_to_json(checkpoint.record), "format": _FORMAT, "sha256": hashes}
    sealed = {**config, _SEAL: content_hash(config)}
    (folder / _CONFIG).write_text(json.dumps(sealed, indent=1, allow_nan=False), encoding="utf-8")
    mode = stat.S_IMODE((folder / _CONFIG).stat().st_mode)
    for name in names:
        (folder / name).chmod(mode)  # safetensors lets nobody else read, whatever the umask
    for name in (*names, _CONFIG):
        flush_to_disk(folder / name)


def _read_config(path: Path) -> dict[str, JsonValue]:
    """Read the record and compare it with its seal; earlier ones have none."""
    try:
        config = cast(JsonValue, read_json(path, what="checkpoint", remedy=_REMEDY))
    except UserError as error:
        raise UserError(f"cannot read the checkpoint: {error}") from error
    if not isinstance(config, dict) or config.get("format") != _FORMAT:
        raise UserError(f"{path} is not a checkpoint of format {_FORMAT} of this library")
    if _SEAL in config and config.pop(_SEAL) != content_hash(config):
        raise UserError(f"{path} was altered: its own hash does not match; {_REMEDY}")
    return config


def _read_tensors(path: Path) -> dict[str, Tensor]:
    require_regular(path, "copy the whole checkpoint folder")
    with foreign(path, "safetensors"):
        try:
            return load_file(path)
        except SafetensorError as error:
            with path.open("rb") as file:
                head = file.read(4)
            if head.startswith((b"\x80", b"PK\x03\x04")):  # good safetensors may start so too
                raise UserError(
                    f"{path} is a pickle, not safetensors; pickles are never loaded"
                ) from error
            raise UserError(
                f"{path} is truncated or no safetensors ({error}); copy it again"
            ) from error


def _check_hash(path: Path, hashes: Mapping[str, JsonValue]) -> None:
    if hash_file(path) != hashes.get(path.name):
        raise UserError(f"{path} was altered: its hash differs from config.json; {_REMEDY}")


def _require_checkpoint(folder: Path) -> Path:
    found = find_checkpoint(folder)
    if found is None:
        raise UserError(_missing_message(folder))
    return found


def _missing_message(folder: Path) -> str:
    if folder.is_file() and folder.suffix in _PICKLES:
        return f"{folder} may be a pickle; these are never loaded, give a folder of this library"
    where = [folder, folder.parent] if folder.name == "checkpoint" else [folder]
    pickles = [
        item.name
        for place in where
        if place.is_dir()
        for item in place.iterdir()
        if item.suffix in _PICKLES
    ]
    if pickles:
        return (
            f"{folder} holds {', '.join(sorted(pickles))} but no {_CONFIG}; pickles are never "
            "loaded, give a folder that this library wrote"
        )
    return f"{folder} is not a checkpoint: there is no {_CONFIG}; give a run or checkpoint folder"
