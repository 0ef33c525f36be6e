"""What lies in folders of others: pointers of Git LFS, files of the desktop, names with numbers."""

import re
from collections.abc import Iterable
from pathlib import Path

from jepawm.errors import UserError, plain_text

POINTER = "is a Git LFS pointer"
"""Words of the message about a file whose content was not fetched."""
_LONGEST_POINTER = 1024
_POINTER_START = b"version https://git-lfs.github.com/spec/"
_OF_THE_DESKTOP = ("thumbs.db", "desktop.ini", "__macosx", "@eadir", "icon\r")
"""Names, in lower case, that Windows, macOS and network disks leave beside the files of others."""


def refuse_pointer(path: Path, num_bytes: int) -> None:
    """Refuse a file of this size if it is what Git LFS keeps in place of one: three lines of text."""
    if not len(_POINTER_START) <= num_bytes <= _LONGEST_POINTER:
        return
    try:
        with path.open("rb") as file:
            start = file.read(len(_POINTER_START))
    except OSError:
        return  # reading it says why
    if start != _POINTER_START:
        return
    raise UserError(
        f"{plain_text(str(path))} {POINTER}, its content was not fetched: run `git lfs pull` in the "
        "repository, or download the file itself"
    )


def is_sidecar(root: Path, path: Path) -> bool:
    """Return whether a path below `root` is no data: hidden, or left behind by a desktop.

    Hidden names begin with a dot, such as `._name` of macOS, `.DS_Store`, `.git` and `.cache`.
    """
    parts = path.relative_to(root).parts
    return any(part.startswith(".") or part.lower() in _OF_THE_DESKTOP for part in parts)


def listed(folder: Path, *patterns: str) -> list[Path]:
    """List what matches a pattern in a folder, by `natural_order`, without sidecars."""
    found = {path for pattern in patterns for path in folder.glob(pattern)}
    return sorted(
        (path for path in found if not is_sidecar(folder, path)),
        key=lambda path: natural_order(str(path.relative_to(folder))),
    )


def natural_order(name: str) -> tuple[list[str | int], str]:
    """Return the key that sorts `a_2` before `a_10`."""
    parts = re.split(r"(\d+)", name)  # texts and numbers in turn
    return [int(part) if number % 2 else part for number, part in enumerate(parts)], name


def picture_order(paths: Iterable[Path]) -> list[Path]:
    """Sort pictures by their names; names that are times, such as `17.5.png`, by the number."""
    paths = list(paths)
    if all(re.fullmatch(r"\d+\.\d+", path.stem) for path in paths):
        return sorted(paths, key=lambda path: (float(path.stem), path.name))
    return sorted(paths, key=lambda path: natural_order(path.stem))
