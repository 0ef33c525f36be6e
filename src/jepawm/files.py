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
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from jepawm.errors import UserError, plain_text

PARTIAL_MARK = ".partial-"
"""Part of the name of a folder that is being written."""
_FULL = (errno.ENOSPC, errno.EDQUOT)
_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)  # not on Windows
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NOFOLLOW | getattr(os, "O_BINARY", 0)
_PATIENCE_SECONDS = 2.0
"""How long a process that was killed may take to let go of its locks."""
_POLL_SECONDS = 0.05
_LOG = logging.getLogger(__name__)


def write_whole(path: Path, content: str | bytes) -> None:
    """Replace a file in one step: it has its old content or the new one, never a part."""
    write_together({path: content})


def write_together(contents: Mapping[Path, str | bytes | None]) -> None:
    """Replace files that belong together; None deletes one. The last one says that all are there.

    All are written aside before the first is touched, so a full disk changes nothing. Then the last
    goes away and comes back when the others are in place, so a kill leaves no mixture under it.
    Names aside are fresh: nobody can plant a link at them, or write to them as well.
    """
    asides = {path: _fresh_name(path) for path, content in contents.items() if content is not None}
    try:
        for path, aside in asides.items():
            _write_new(aside, contents[path] or b"")
        last = list(contents)[-1]
        if len(contents) > 1:
            last.unlink(missing_ok=True)
        for path in contents:
            if path in asides:
                asides[path].replace(path)
            else:
                path.unlink(missing_ok=True)
    finally:
        for aside in asides.values():
            aside.unlink(missing_ok=True)


def _write_new(path: Path, content: str | bytes) -> None:
    with os.fdopen(os.open(path, _NEW, 0o666), "wb") as file:
        file.write(content.encode() if isinstance(content, str) else content)
        file.flush()
        os.fsync(file.fileno())


def partial_path(path: Path) -> Path:
    """Return the folder aside in which a folder is made that can be gone on with later."""
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
    folder = _fresh_name(_target(path))
    folder.mkdir(parents=True)
    return folder


def publish_folder(folder: Path, path: Path) -> None:
    """Rename a complete folder to `path`; an empty folder there makes way, all else is kept."""
    place = _target(path)
    try:
        if place.exists():
            place.rmdir()  # empty
        folder.rename(place)
    except OSError as error:
        if not is_taken(place):
            raise
        raise UserError(
            f"{path} appeared during the run and is kept; the finished one is {folder}: rename it"
        ) from error


def _fresh_name(path: Path) -> Path:
    return path.with_name(f"{path.name}{PARTIAL_MARK}{uuid.uuid4().hex[:8]}")


def _target(path: Path) -> Path:
    """Return where a link at `path` leads: a folder cannot be renamed to a link."""
    return Path(os.path.realpath(path)) if path.is_symlink() else path


def partial_folders(path: Path) -> list[Path]:
    """List the folders that unfinished writers of `path` left next to it."""
    place = _target(path)
    return sorted(place.parent.glob(f"{glob.escape(place.name)}{PARTIAL_MARK}*"))


def remove_leftovers(path: Path) -> None:
    """Delete what killed writers of the file `path` left; nobody else may be writing it now."""
    for leftover in partial_folders(path):
        leftover.unlink(missing_ok=True)


def require_free(path: Path) -> None:
    """Refuse to write a folder where something is already, or where nothing can be."""
    with suppress(FileNotFoundError):
        path.stat()  # says at once of a name that is too long, or of a loop of links
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
    place = path.with_name(f".{path.name}.lock")
    lock = _try_lock(place, seconds=0.0)
    if lock is None:
        _LOG.warning("another process is making %s; waiting for it", path)
    while lock is None:  # whether it can be had at all may change
        lock = _try_lock(place, seconds=_PATIENCE_SECONDS)
    try:
        yield
    finally:
        _unlock(place, lock)


@contextmanager
def taken(folder: Path, *, by: str) -> Iterator[None]:
    """Keep what else is called `by` out of a folder, which is made where it is missing.

    Refused where another process has taken it; one that was killed may take a moment to end.
    """
    is_new = not folder.exists()
    if not is_new and not folder.is_dir():
        raise UserError(f"{folder} is not a folder; choose another --out")
    place = lock_file(folder, by=by)
    lock = _try_lock(place, seconds=_PATIENCE_SECONDS)
    if lock is None:
        raise UserError(
            f"another {by} is writing into {folder}; wait until it ends, or choose another --out"
        )
    try:
        yield
    finally:
        _unlock(place, lock)
        if is_new:
            with suppress(OSError):
                folder.rmdir()  # empty: nothing came of it


def lock_file(folder: Path, *, by: str) -> Path:
    """Return the file in a folder whose lock `taken` holds; one that is left means nothing."""
    return folder / f".{by}.lock"


def _try_lock(place: Path, *, seconds: float) -> int | None:
    """Return an open, locked file at `place`; None if another process holds it for that long."""
    flags = os.O_RDWR | os.O_CREAT | _NOFOLLOW | getattr(os, "O_NONBLOCK", 0)
    deadline = time.monotonic() + seconds
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        while True:
            file = os.open(place, flags, 0o666)
            if _lock(file):
                if os.fstat(file).st_nlink:
                    return file
            elif time.monotonic() >= deadline:
                os.close(file)
                return None
            else:
                time.sleep(_POLL_SECONDS)
            os.close(file)  # held by another, or deleted by the one that held it before
    except OSError as error:
        raise UserError(
            f"cannot make and lock {place} ({error.strerror}); choose another folder, on a disk "
            "that can be written to and has room and locks"
        ) from error


def _lock(file: int) -> bool:
    """Lock an open file until it is closed; returns whether no other process holds it."""
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.EAGAIN, errno.EACCES):
            raise
        return False
    return True


def _unlock(place: Path, file: int) -> None:
    """Delete a locked file and close it; who waits for it makes a new one."""
    own = os.fstat(file)
    if sys.platform == "win32":  # where an open file cannot be deleted
        os.close(file)
    with suppress(OSError):  # it has gone with its folder, or another process opened it on Windows
        if os.path.samestat(place.stat(), own):
            place.unlink()
    if sys.platform != "win32":
        os.close(file)


def data_root(path: Path | None) -> Path:
    """Return the folder for data: the argument, else `$JEPAWM_DATA`, else the user's cache folder."""
    if path is not None:
        return expand_user(path)
    configured = os.environ.get("JEPAWM_DATA", "")
    folder = expand_user(Path(configured)) if configured else cache_folder() / "jepawm"
    require_utf8(str(folder))
    return folder


def cache_folder() -> Path:
    """Return the folder of this user for what can be made or fetched again."""
    if sys.platform == "darwin":
        return _home() / "Library" / "Caches"
    variable = "LOCALAPPDATA" if sys.platform == "win32" else "XDG_CACHE_HOME"
    configured = Path(
        os.environ.get(variable, "")
    )  # a relative one is ignored, as its standard says
    return configured if configured.is_absolute() else _home() / ".cache"


def private_cache(name: str) -> Path:
    """Return a folder for code that is made here and run later: nobody else may have written into it.

    It lies in the cache folder; where others can write there it is a new one, for this process.
    """
    cache = cache_folder()
    folder = cache / "jepawm" / name
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        places = (cache, folder.parent, folder)
        open_to_others = [str(place) for place in places if not is_only_mine(place)]
    except OSError as error:
        open_to_others = [f"{folder} ({error})"]
    if not open_to_others:
        return folder
    _LOG.warning(
        "compiled code is not kept, as %s is not yours alone: it is made anew by each process; own it, "
        "and let nobody else write there (chmod o-w)",
        open_to_others[0],
    )
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


def require_utf8(name: str) -> None:
    """Refuse the name of a file or folder that is no text: libraries below take no other."""
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise UserError(
            f"{plain_text(name)} is no UTF-8 text; rename the file or folder"
        ) from error


def expand_user(path: Path) -> Path:
    """Put a home folder in the place of a leading `~` or `~user`."""
    try:
        return path.expanduser()
    except RuntimeError as error:
        raise UserError(
            f"{path}: there is no home folder of {path.parts[0][1:] or 'this user'} here; write "
            "the path without ~, or set HOME"
        ) from error


def _home() -> Path:
    """Return the home folder; a user of a container may have none."""
    try:
        return Path.home()
    except RuntimeError as error:
        raise UserError(
            "this user has no home folder to keep data in; set JEPAWM_DATA (or HOME) to a folder, "
            "or give --data-root"
        ) from error


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
