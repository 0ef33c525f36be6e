"""Folders that are complete or absent: written aside, renamed at the end."""

import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jepawm.errors import UserError


@contextmanager
def complete_or_absent(path: Path) -> Iterator[Path]:
    """Give a folder beside `path` to write into; it becomes `path` if the block succeeds.

    Raises:
        UserError: if `path` exists and is not an empty folder.
    """
    if is_taken(path):
        raise UserError(f"{path} exists already; choose another folder or delete it first")
    folder = path.with_name(f"{path.name}.partial-{uuid.uuid4().hex[:8]}")
    folder.mkdir(parents=True)
    complete = False
    try:
        yield folder
        complete = True
    finally:
        if not complete:
            shutil.rmtree(folder, ignore_errors=True)  # what matters is the first error
    if path.exists():
        path.rmdir()  # empty
    folder.rename(path)


def is_taken(path: Path) -> bool:
    """Return whether something is at `path`; an empty folder does not count."""
    return path.exists() and not (path.is_dir() and not any(path.iterdir()))
