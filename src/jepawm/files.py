"""Files and folders that are whole or absent, one process at a time, where they go, full disks.

What is written aside becomes visible by a rename at the end, so a killed process leaves nothing
half-written under the name that others read.
"""

import atexit
import errno
import glob
import hashlib
import json
import logging
import os
import shutil
import stat
import sys
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from jepawm.errors import UserError

PARTIAL_MARK = ".partial-"
"""Part of the name of a folder that is being written."""
_FULL = (errno.ENOSPC, errno.EDQUOT)
_LOG = logging.getLogger(__name__)


def write_whole(path: Path, content: str | bytes) -> None:
    """Replace a file in one step: it has its old content or the new one, never a part."""
    data = content.encode() if isinstance(content, str) else content
    aside = partial_path(path)
    try:
        with aside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def partial_path(path: Path) -> Path:
    """Return where a file, or a folder that is completed later, is written aside."""
    return path.with_name(f"{path.name}.partial")


@contextmanager
def complete_or_absent(path: Path) -> Iterator[Path]:
    """Give a folder next to `path` to write into; it becomes `path` if the block succeeds."""
    folder = new_partial_folder(path)
    complete = False
    try:
        yield folder
        complete = True
    finally:
        if not complete:
            shutil.rmtree(folder, ignore_errors=True)  # what matters is the first error
    publish_folder(folder, path)


def new_partial_folder(path: Path) -> Path:
    """Make a folder next to `path`, which must be free, to be renamed to it when it is complete."""
    require_free(path)
    folder = path.with_name(f"{path.name}{PARTIAL_MARK}{uuid.uuid4().hex[:8]}")
    folder.mkdir(parents=True)
    return folder


def publish_folder(folder: Path, path: Path) -> None:
    """Rename a complete folder to `path`; an empty folder there makes way."""
    if path.exists():
        path.rmdir()  # empty
    folder.rename(path)


def partial_folders(path: Path) -> list[Path]:
    """List the folders that unfinished writers of `path` left next to it."""
    return sorted(path.parent.glob(f"{glob.escape(path.name)}{PARTIAL_MARK}*"))


def require_free(path: Path) -> None:
    """Refuse to write a folder where something is already."""
    if is_taken(path):
        raise UserError(f"{path} exists already; choose another folder or delete it first")


def is_taken(path: Path) -> bool:
    """Return whether something is at `path`; an empty folder does not count."""
    return path.exists() and not (path.is_dir() and not any(path.iterdir()))


def flush_to_disk(path: Path) -> None:
    """Flush a file or a folder to the disk, so that a power cut cannot undo a later rename."""
    if os.name == "nt" and path.is_dir():
        return  # Windows cannot open folders
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def content_hash(content: Mapping[str, object]) -> str:
    """Return the SHA-256 of JSON values, whatever the order of their names."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Wait until no other process makes `path`, and keep others waiting inside the block."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path.with_name(f".{path.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        _LOG.warning("another process is making %s; waiting for it", path)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def data_root(path: Path | None) -> Path:
    """Return the folder for data: the argument, else `$JEPAWM_DATA`, else the user's cache folder."""
    if path is not None:
        return path.expanduser()
    configured = os.environ.get("JEPAWM_DATA", "")
    return Path(configured).expanduser() if configured else cache_folder() / "jepawm"


def cache_folder() -> Path:
    """Return the folder of this user for what can be made or fetched again."""
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    variable = "LOCALAPPDATA" if sys.platform == "win32" else "XDG_CACHE_HOME"
    configured = Path(
        os.environ.get(variable, "")
    )  # a relative one is ignored, as its standard says
    return configured if configured.is_absolute() else Path.home() / ".cache"


def private_cache(name: str) -> Path:
    """Return a folder for code that is made here and run later: nobody else may have written into it.

    It lies in the cache folder; where others can write there it is a new one, for this process.
    """
    cache = cache_folder()
    folder = cache / "jepawm" / name
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        mine = all(is_only_mine(place) for place in (cache, folder.parent, folder))
    except OSError as error:
        _LOG.debug("no cache in %s: %s", folder, error)
        mine = False
    if mine:
        return folder
    fresh = Path(tempfile.mkdtemp(prefix="jepawm-"))
    atexit.register(shutil.rmtree, fresh, ignore_errors=True)
    return fresh


def is_only_mine(path: Path) -> bool:
    """Return whether a file or folder belongs to this user, is no link, and others cannot write it."""
    if os.name == "nt":
        return True  # the folder of a user's programs is private there
    found = path.lstat()
    is_link = stat.S_ISLNK(found.st_mode)
    return found.st_uid == os.getuid() and not is_link and not found.st_mode & stat.S_IWOTH


@contextmanager
def telling_full_disk(path: Path, *, num_bytes: int, since: str = "") -> Iterator[None]:
    """Turn "no space left" inside the block into a message that names path, need and free bytes.

    `num_bytes` is what the block is about to write at most, `since` the first that it writes. A
    quota and the largest size of a file count like the disk.
    """
    try:
        yield
    except OSError as error:
        if error.errno == errno.EFBIG:
            raise UserError(
                f"a file below {path} would be larger than its disk or `ulimit -f` allows; raise "
                "the limit, choose another disk, or write less"
            ) from error
        if error.errno not in _FULL:
            raise
        raise UserError(_full_message(path, num_bytes=num_bytes, since=since)) from error


def require_free_bytes(path: Path, *, num_bytes: int) -> None:
    """Refuse to start writing `num_bytes` below `path` where that much is not free."""
    if free_bytes(path) < num_bytes:
        raise UserError(_full_message(path, num_bytes=num_bytes))


def free_bytes(path: Path) -> int:
    """Count the free bytes of the disk that holds `path`, which need not exist yet."""
    folder = path.absolute()
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def _full_message(path: Path, *, num_bytes: int, since: str = "") -> str:
    need = f"{num_bytes:,} more bytes" + (f" from {since} on" if since else "")
    return (
        f"the disk is full: {path} needs {need}, {free_bytes(path):,} are free; "
        "free some space, choose another folder, or write less"
    )
