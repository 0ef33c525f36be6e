"""What a foreign file must pass before it is used: regular, in its place, of an honest size.

`foreign` is the net below the checks: it makes a message of what a library raises.
"""

import errno
import logging
import math
import stat
import zipfile
from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from jepawm.errors import UserError, plain_text, show
from jepawm.files import data_root
from jepawm.foreign_files import refuse_pointer

if TYPE_CHECKING:  # the command line starts without them
    import numpy as np

_LOG = logging.getLogger(__name__)
_OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EMFILE, errno.ENFILE)
_KINDS = {
    stat.S_IFDIR: "folder",
    stat.S_IFIFO: "pipe",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "device",
}
_LARGEST = 64 * 2**30
"""Most bytes that one file may bring into memory."""
_SUSPICIOUS, _MUCH = 2**30, 100  # a claim above the first may be so many times what is there
_DEFLATE = 1032.0  # times that it makes zeros smaller at most
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
_LONGEST_NAME, _LONGEST_PATH, _SHOWN = 255, 4000, 200
_NPY_MAGIC = b"\x93NUMPY"


def require_regular(path: Path, remedy: str = "copy it again") -> None:
    """Check that a path leads to a regular file with its content; a pipe would wait forever."""
    name = plain_text(str(path))
    try:
        status, real = path.stat(), path.resolve() if path.is_symlink() else path
    except (FileNotFoundError, NotADirectoryError) as error:
        what = "is a link to nothing" if path.is_symlink() else "is missing"
        raise UserError(f"{name} {what}; {remedy}") from error
    except OSError as error:
        raise UserError(f"cannot read {name} ({error.strerror}); {remedy}") from error
    except ValueError as error:
        raise UserError(f"{name} is no path ({error}); {remedy}") from error
    if real.is_relative_to("/proc") or real.is_relative_to("/sys"):
        raise UserError(f"{name} is no file of a disk, but {plain_text(str(real))}; {remedy}")
    if not stat.S_ISREG(status.st_mode):
        kind = _KINDS.get(stat.S_IFMT(status.st_mode), "special file")
        raise UserError(f"{name} is a {kind}, not a file; {remedy}")
    refuse_pointer(path, status.st_size)


def inside(root: Path, relative: object, *, field: str, file: Path) -> Path:
    """Return the path of a file of a data set that the content of another file names.

    Args:
        root: folder of the data set.
        relative: what the file says, in place of a path below `root`.
        field: where it says so.
        file: the file that says so.
    """
    where = f"{field} of {plain_text(str(file))}"
    if not isinstance(relative, str) or not relative.strip():
        raise UserError(f"{where} is {show(relative)}, not the path of a file; copy it again")
    name = plain_text(relative)
    if any(one == "\0" or "\ud800" <= one <= "\udfff" for one in relative):
        raise UserError(f"{where} is {name!r}, which is no path; copy it again")
    parts = Path(relative)
    if any(len(part.encode()) > _LONGEST_NAME for part in parts.parts) or (
        len(relative.encode()) > _LONGEST_PATH
    ):
        raise UserError(f"{where} is a path that is too long ({name[:40]}...); copy it again")
    if parts.drive or parts.root or ".." in parts.parts:
        raise UserError(f"{name} lies outside of the data set ({where}); refused")
    path = root / parts
    require_inside(root, path, where=where)
    return path


def require_inside(
    root: Path, path: Path, *, where: str = "a link", kind: str = "data set"
) -> None:
    """Check that a path below a data set, or another `kind`, leads to nothing outside of it.

    Links may lead out in a Hugging Face cache, and within the data root of this user.

    Args:
        root: its folder.
        path: a path below it; what it leads to may be missing.
        where: what names the path, for the message.
        kind: what the folder is, for the message.
    """
    name = plain_text(str(path))
    try:
        base, target = root.resolve(), path.resolve()
    except (OSError, RuntimeError, ValueError) as error:  # RuntimeError: links in a circle
        raise UserError(f"cannot follow {name} ({_reason(error)}); copy it again") from error
    if target.is_relative_to(base) or _is_cached(base, target):
        return
    own = data_root(None).resolve()
    if not (base.is_relative_to(own) and target.is_relative_to(own)):
        raise UserError(f"{name} lies outside of the {kind} ({where}); refused")
    _say_links(base)


def require_claim(
    num_bytes: int, *, file: Path | str, what: str, ratio: float = 1.0, held: int | None = None
) -> None:
    """Check the size that a file claims for some of its content, before memory is taken for it.

    Args:
        num_bytes: the claim.
        file: the file, or how messages call it (then `held` is needed).
        what: what is that large, in words.
        ratio: how many times smaller the format stores it at most.
        held: bytes that hold it; None: the size of the file.
    """
    if held is None:
        held = Path(file).stat().st_size
    much = min(ratio, _MUCH) if num_bytes > _SUSPICIOUS else ratio
    if 0 <= num_bytes <= min(held * much, _LARGEST):
        return
    name = plain_text(str(file))
    raise UserError(
        f"{name} claims {num_bytes:,} bytes for {plain_text(what)}, more than its {held:,} bytes "
        "can hold; copy it again, or leave it out"
    )


class foreign:  # noqa: N801 (read as a word: `with foreign(file, ...)`)
    """Turn what a library raises about a file inside the block into a `UserError` that names it.

    Errors of the disk itself pass: nothing is wrong with the file.
    """

    def __init__(self, file: Path | str, what: str) -> None:
        """Take the file, or how messages call it, and what it should be: `npz file`."""
        self._file, self._what = file, what

    def __enter__(self) -> None:
        """Begin the block."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Raise the `UserError` if the block raised."""
        if not isinstance(error, Exception) or isinstance(error, UserError):
            return
        name = plain_text(str(self._file))
        if type(error).__module__ == "builtins" and isinstance(error, OSError):
            if error.errno in _OF_THE_DISK:
                return
            if isinstance(error, PermissionError):
                raise UserError(
                    f"cannot read {name} ({error.strerror}); make it readable"
                ) from error
        raise UserError(
            f"{name} is damaged or no {self._what} ({_reason(error)}); copy it again, or leave it "
            "out"
        ) from error


def load_npz(file: Path, names: Sequence[str] | None = None) -> "dict[str, np.ndarray]":
    """Read arrays of a `.npz` file in the byte order of this machine; nothing is unpickled.

    Args:
        file: the file.
        names: which arrays, all of which must be there; None: every array.
    """
    require_regular(file)
    with foreign(file, "npz file"):
        _refuse_npy(file)
        with zipfile.ZipFile(file) as archive:
            return _arrays(archive, file, names)


def archive_members(archive: zipfile.ZipFile, file: Path) -> list[zipfile.ZipInfo]:
    """Return the members of an archive, none of them encrypted, doubled or larger than honest."""
    infos = [info for info in archive.infolist() if not info.is_dir()]
    counts = Counter(info.filename for info in infos)
    for info in infos:
        name = plain_text(info.filename)
        if info.flag_bits & 1:
            raise UserError(f"{file}: {name} is encrypted; save it without a password")
        if info.compress_type not in _METHODS:
            raise UserError(
                f"{file}: {name} is compressed by an unknown method ({info.compress_type}); save "
                "it again"
            )
        if counts[info.filename] > 1:
            raise UserError(f"{file} holds {name} twice; save it again")
        require_claim(
            info.file_size, file=file, what=name, ratio=_ratio(info), held=info.compress_size
        )
    total = sum(info.file_size for info in infos)
    most = max((_ratio(info) for info in infos), default=1.0)
    require_claim(total, file=file, what="all of its content", ratio=most)
    return infos


def _reason(error: Exception) -> str:
    """Say in a line what a library raised."""
    if isinstance(error, MemoryError):
        return "it needs more memory than there is"
    if isinstance(error, RecursionError):
        return "it is nested too deep"
    text = plain_text(next(iter(str(error).splitlines()), "").split(". ")[0])
    return text[:_SHOWN] or type(error).__name__


def _is_cached(base: Path, target: Path) -> bool:
    """Return whether a snapshot of a Hugging Face cache leads to a file of the same cache."""
    return any(
        folder.name == "snapshots" and target.is_relative_to(folder.parent / "blobs")
        for folder in base.parents
    )


@cache
def _say_links(base: Path) -> None:  # once
    _LOG.warning("%s: links lead out of the data set, to other files of the data root", base)


def _refuse_npy(file: Path) -> None:
    with file.open("rb") as stream:
        if stream.read(len(_NPY_MAGIC)) == _NPY_MAGIC:
            raise UserError(
                f"{file} is one array (.npy), not a file of named arrays; write it by numpy.savez"
            )


def _arrays(
    archive: zipfile.ZipFile, file: Path, names: Sequence[str] | None
) -> "dict[str, np.ndarray]":
    """Read the arrays of an archive by name; what is no array is left out."""
    members = {info.filename.removesuffix(".npy"): info for info in archive_members(archive, file)}
    missing = [name for name in names or () if name not in members]
    if missing:
        known = plain_text(", ".join(members))
        raise UserError(f"{file} lacks {', '.join(missing)}; it has: {known}; copy it again")
    found = {}
    for name in members if names is None else names:
        array = _read_member(archive, members[name], file)
        if array is not None:
            found[name] = array
    return found


def _ratio(info: zipfile.ZipInfo) -> float:
    if info.compress_type == zipfile.ZIP_STORED:
        return 1.0
    return _DEFLATE if info.compress_type == zipfile.ZIP_DEFLATED else math.inf


def _read_member(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo, file: Path
) -> "np.ndarray | None":
    """Read an array of an archive; None if the member is no array."""
    import numpy as np

    with archive.open(info) as stream:
        if stream.read(len(_NPY_MAGIC)) != _NPY_MAGIC:
            return None
    name = plain_text(info.filename)
    shape, dtype, start = _header(archive, info)
    if dtype.kind not in "biufcSU":
        what = "Python objects" if dtype.hasobject else f"values of type {dtype}"
        raise UserError(f"{file}: {name} holds {what}; save it as an array of plain numbers")
    held = info.file_size - start
    if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != held:
        raise UserError(
            f"{file}: {name} claims shape {show(shape)} of {dtype}, but holds {held:,} bytes; "
            "copy it again"
        )
    with archive.open(info) as stream:
        array = np.lib.format.read_array(stream, allow_pickle=False)
        stream.read()  # the checksum is compared at the end
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _header(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo
) -> "tuple[tuple[int, ...], np.dtype, int]":
    """Return shape and type of an array, and where its numbers begin."""
    from numpy.lib import format as npy

    with archive.open(info) as stream:
        version = npy.read_magic(stream)
        if version not in ((1, 0), (2, 0)):
            raise ValueError(f"version {version} of an array file")
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, _, dtype = read(stream)
        return shape, dtype, stream.tell()
