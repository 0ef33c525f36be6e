"""HDF5 files: opened, checked before anything is read, and frames read from them piece by piece.

A file can name others: by links, by external storage, by virtual data sets. None is followed out of
the folder of the data set.
"""

import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
from jaxtyping import Shaped, UInt8

from jepawm.border import foreign, inside, require_claim, require_regular
from jepawm.data.formats.hdf5_filters import require_filters
from jepawm.data.jpeg_frames import decode_picture
from jepawm.data.recording import require_own
from jepawm.data.video import require_size
from jepawm.errors import UserError, missing_extra, plain_text
from jepawm.foreign_files import listed

if TYPE_CHECKING:
    import h5py

_PIECE = 32
"""Frames read at once."""
_PIECE_BYTES = 2**28
"""Bytes of frames read at once, unless one frame is larger."""
_SMALL = 2**24
"""Bytes that no claim is compared for."""
_RATIO = 1032.0
"""Times that deflate, the usual compression of HDF5, makes zeros smaller at most."""
_LARGEST_COLUMN = 2**29
"""Most bytes of a column of numbers."""
_LONGEST_TEXT = 2**24
_DEEPEST = 8
"""Virtual data sets may be made of virtual ones, so often at most."""


@contextmanager
def opened(file: Path, *, root: Path, depth: int = 0) -> "Iterator[Group]":
    """Open a file for reading; gives its root group.

    Args:
        file: the file.
        root: folder of the data set; what the file names has to be in it.
        depth: how many files led to this one.
    """
    try:
        import h5py
    except ImportError as error:
        raise missing_extra("HDF5", error, package="h5py", extra="data") from error
    require_own(root, file)
    with foreign(file, "HDF5 file"), h5py.File(file, "r") as content:
        yield Group(node=content, file=file, root=root, depth=depth)


@dataclass(frozen=True, kw_only=True, eq=False)
class Group:
    """A group of an open file."""

    node: "h5py.Group"
    """The group as h5py has it."""
    file: Path
    """The file, for messages."""
    root: Path
    """Folder of the data set."""
    depth: int = 0
    """How many files led to this one."""

    def names(self) -> list[str]:
        """List what is in the group; a name that is no UTF-8 is listed as it can be shown."""
        names = cast("Iterator[str | bytes]", iter(self.node))
        return [
            name.decode(errors="backslashreplace") if isinstance(name, bytes) else name
            for name in names
        ]

    def has(self, name: str) -> bool:
        """Return whether something of this name is in the group."""
        return self.node.id.links.exists(name.encode())

    def group(self, path: str) -> "Group":
        """Return a group below this one."""
        import h5py

        node = self._child(path)
        if not isinstance(node, h5py.Group):
            known = plain_text(", ".join(self.names())) or "nothing"
            raise UserError(f"{self.file} lacks the group {plain_text(path)}; there is: {known}")
        return Group(node=node, file=self.file, root=self.root, depth=self.depth)

    def dataset(self, path: str) -> "h5py.Dataset":
        """Return a data set below this group, of an honest size and out of files that may be read."""
        import h5py

        node = self._child(path)
        if not isinstance(node, h5py.Dataset):
            known = plain_text(", ".join(self.datasets()))
            here = plain_text(str(self.node.name))
            raise UserError(f"{self.file} lacks {plain_text(path)} in {here}; there is: {known}")
        self._require_honest(node, held=self._require_own(node))
        require_filters(node, file=self.file)
        return node

    def datasets(self) -> "dict[str, h5py.Dataset]":
        """Return all data sets below this group by their path; links to others are left out."""
        import h5py

        found: dict[str, h5py.Dataset] = {}

        def visit(name: str, node: "h5py.Group | h5py.Dataset") -> None:
            if isinstance(node, h5py.Dataset) and isinstance(name, str):
                self._require_own(node)
                found[name] = node

        self.node.visititems(visit)
        return found

    def rows(self, path: str, part: slice = slice(None)) -> Shaped[np.ndarray, "n d"]:
        """Read a column of numbers, or a part of it, as rows `[n, d]`; `[n]` becomes `[n, 1]`."""
        data = self.dataset(path)
        name = plain_text(str(data.name))
        if data.ndim not in (1, 2) or data.dtype.kind not in "biuf":
            raise UserError(
                f"{self.file}: {name} is {data.dtype} {data.shape}; expected rows of numbers"
            )
        if 0 in data.shape:
            raise UserError(f"{self.file}: {name} is empty, {data.shape}; leave the episode out")
        length = len(range(*part.indices(len(data))))
        size = length * math.prod(data.shape[1:]) * max(data.dtype.itemsize, 4)
        if size > _LARGEST_COLUMN:
            raise UserError(
                f"{self.file} claims {size:,} bytes for {name}, more than the {_LARGEST_COLUMN:,} "
                "of the longest episode; split it"
            )
        return np.asarray(data[part]).reshape(length, math.prod(data.shape[1:]))

    def cameras(self, *, padded: bool = False) -> list[str]:
        """List the data sets below this group that hold frames.

        They are uint8 `[L, height, width, 3]` or `[L, 3, height, width]`, or the bytes of a JPEG or
        PNG picture for each frame; `padded`: these may be rows of equal length too, with zeros
        behind the picture.
        """
        return [
            name
            for name, data in self.datasets().items()
            if _holds_pictures(data)
            or (data.dtype == np.uint8 and data.ndim == 4 and 3 in (data.shape[1], data.shape[3]))
            or (padded and data.dtype == np.uint8 and data.ndim == 2)
        ]

    def columns(self) -> dict[str, str]:
        """Describe type and shape of all data sets below this group."""
        found = self.datasets()
        return {name: f"{data.dtype} {list(data.shape or ())}" for name, data in found.items()}

    def text(self, name: str) -> str | None:
        """Return an attribute that is a text; None if there is none."""
        if name not in self.node.attrs:
            return None
        where = f"{self.file}: attribute {name} of {plain_text(str(self.node.name))}"
        attribute = self.node.attrs.get_id(name)
        num_bytes = math.prod(attribute.shape or (1,)) * attribute.dtype.itemsize
        if attribute.shape not in ((), (1,)) or num_bytes > _LONGEST_TEXT:
            raise UserError(f"{where} is no single text, but {attribute.shape}; copy it again")
        value = self.node.attrs[name]
        value = np.asarray(value)[0] if attribute.shape == (1,) else value
        if isinstance(value, str):
            value = value.encode(errors="surrogateescape")  # as h5py decoded it
        value = value.tobytes() if isinstance(value, np.void) else value
        if not isinstance(value, bytes) or len(value) > _LONGEST_TEXT:
            raise UserError(f"{where} is {type(value).__name__}, not a text; copy it again")
        try:
            return value.decode()
        except UnicodeDecodeError as error:
            raise UserError(f"{where} is no text ({error.reason}); copy it again") from error

    def _child(self, path: str) -> object:
        """Return what is at a path, going through no link; None if there is nothing."""
        import h5py

        node = self.node
        for part in path.split("/"):
            if not isinstance(node, h5py.Group) or not node.id.links.exists(part.encode()):
                return None
            self._require_no_link(node, part)
            node = node[part]
        return node

    def _require_no_link(self, node: "h5py.Group", name: str) -> None:
        from h5py import h5l  # pyright: ignore[reportAttributeAccessIssue] - its types lack it

        kind = node.id.links.get_info(name.encode()).type
        if kind == h5l.TYPE_HARD:
            return
        where = f"{str(node.name).rstrip('/')}/{name}"
        target = node.id.links.get_val(name.encode())
        if kind == h5l.TYPE_EXTERNAL:
            self._inside(os.fsdecode(target[0]), field=f"the link {where}")
            target = b":".join(target)
        raise UserError(
            f"{self.file}: {plain_text(where)} is a link to {plain_text(os.fsdecode(target))}; put "
            "what it leads to in its place (h5copy), or leave the episode out"
        )

    def _require_own(self, data: "h5py.Dataset") -> int:
        """Check which files a data set is stored in, before anything else of it is asked for.

        Returns the bytes of these files.
        """
        import h5py

        files = {self.file}
        plist = data.id.get_create_plist()
        for index in range(plist.get_external_count()):
            files.add(self._external(data, *plist.get_external(index)))
        if plist.get_layout() == h5py.h5d.VIRTUAL:
            named = {
                (plist.get_virtual_filename(index), plist.get_virtual_dsetname(index))
                for index in range(plist.get_virtual_count())
            }
            files |= {self._source(data, file, path) for file, path in sorted(named)}
        return sum(file.stat().st_size for file in files)

    def _external(self, data: "h5py.Dataset", name: bytes, offset: int, size: int) -> Path:
        """Return a file of external storage, which HDF5 looks for in the working folder."""
        where = f"the external storage of {data.name}"
        if os.environ.get("HDF5_EXTFILE_PREFIX"):
            raise UserError(f"{self.file}: {plain_text(where)}: unset HDF5_EXTFILE_PREFIX")
        file = self._inside(str(Path.cwd() / os.fsdecode(name)), field=where)
        require_regular(file)
        needed = min(size, _num_bytes(data))  # the size may be "unlimited"
        if offset + needed > file.stat().st_size:
            raise UserError(
                f"{file} is shorter than the {offset + needed:,} bytes that {plain_text(where)} of "
                f"{self.file} says; copy it again"
            )
        return file

    def _source(self, data: "h5py.Dataset", name: str, path: str) -> Path:
        """Return a file that holds a part of a virtual data set; the part is checked."""
        where = f"the virtual data set {data.name}"
        if self.depth >= _DEEPEST or "%" in name + path:
            raise UserError(
                f"{self.file}: {plain_text(where)} leads through too many others "
                f"({plain_text(name)}:{plain_text(path)}); copy it into one data set (h5repack)"
            )
        if name == ".":
            same = Group(node=data.file, file=self.file, root=self.root, depth=self.depth + 1)
            same.dataset(path.strip("/"))
            return self.file
        file = self._inside(name, field=where)
        with opened(file, root=self.root, depth=self.depth + 1) as other:
            other.dataset(path.strip("/"))
        return file

    def _inside(self, name: str, *, field: str) -> Path:
        """Return the path of a file that this one names, from its own folder or whole."""
        relative = Path(os.path.relpath(self.file.parent / name, self.root))
        leads_out = os.pardir in relative.parts
        return inside(
            self.root, name if leads_out else str(relative), field=plain_text(field), file=self.file
        )

    def _require_honest(self, data: "h5py.Dataset", *, held: int) -> None:
        """Compare the size of a data set with that of the files that hold it."""
        name = plain_text(str(data.name))
        if data.shape is None:
            raise UserError(f"{self.file}: {name} holds nothing; leave the episode out")
        sizes = {name: _num_bytes(data)}
        if data.chunks is not None:
            sizes[f"a chunk of {name}"] = math.prod(data.chunks) * data.dtype.itemsize
        for what, size in sizes.items():
            if size > _SMALL:
                require_claim(size, file=self.file, what=what, ratio=_RATIO, held=held)


def _num_bytes(data: "h5py.Dataset") -> int:
    return math.prod(data.shape or (0,)) * data.dtype.itemsize


def _holds_pictures(data: "h5py.Dataset") -> bool:
    import h5py

    return data.ndim == 1 and h5py.check_vlen_dtype(data.dtype) == np.uint8


def read_frames(
    file: Path,
    path: str,
    *,
    root: Path,
    rotated: bool = False,
    part: slice = slice(None),
) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
    """Read the frames at `path` in the file one after the other, or a part of them.

    `rotated` turns them by 180°.
    """
    with opened(file, root=root) as content:
        data = content.dataset(path)
        piece, colours_first = _PIECE, data.ndim == 4 and data.shape[3] != 3
        if data.ndim == 4:
            height, width = data.shape[2:] if colours_first else data.shape[1:3]
            require_size(width, height, name=f"{path} of {file}")
            piece = min(_PIECE, max(1, _PIECE_BYTES // (3 * height * width)))
        elif _holds_pictures(data):
            _require_held(data, file)
        begin, end, _ = part.indices(len(data))
        for first in range(begin, end, piece):
            for row in data[first : min(first + piece, end)]:
                frame = decode_picture(bytes(row), name=str(file)) if row.ndim == 1 else row
                frame = np.moveaxis(frame, 0, -1) if colours_first else frame
                yield np.ascontiguousarray(frame[::-1, ::-1] if rotated else frame)


def _require_held(data: "h5py.Dataset", file: Path) -> None:
    """Check the sizes of pictures: HDF5 takes memory for one before it looks whether it is there.

    A picture is kept as its size, in the first four bytes of an entry, and where it is. The entries
    of compressed and virtual data sets are not looked at.
    """
    size = data.id.get_type().get_size()
    places = []
    if data.id.get_offset() is not None:
        places.append((data.id.get_offset(), len(data) * size))
    elif data.chunks is not None and data.id.get_create_plist().get_nfilters() == 0:
        data.id.chunk_iter(lambda chunk: places.append((chunk.byte_offset, chunk.size)))
    with file.open("rb") as content:
        for offset, num_bytes in places:
            content.seek(offset)
            entries = content.read(num_bytes)
            whole = np.frombuffer(entries, np.uint8)[: len(entries) // size * size]
            sizes = whole.reshape(-1, size)[:, :4].copy().view("<u4")
            largest = int(sizes.max(initial=0))
            require_claim(largest, file=file, what=f"a picture of {data.name}")


def columns_of(group: Group, names: Sequence[str]) -> list[Shaped[np.ndarray, "n d"]]:
    """Read columns of numbers that have the same number of rows."""
    columns = [group.rows(name) for name in names]
    if len({len(rows) for rows in columns}) > 1:
        shapes = ", ".join(
            f"{name} {rows.shape}" for name, rows in zip(names, columns, strict=True)
        )
        raise UserError(
            f"{group.file}: columns of {plain_text(str(group.node.name))} have several lengths: "
            f"{plain_text(shapes)}; leave the episode out"
        )
    return columns


def joined(group: Group, names: Sequence[str]) -> Shaped[np.ndarray, "n d"]:
    """Join columns of numbers, which have the same number of rows."""
    return np.concatenate(columns_of(group, names), axis=1)


def hdf5_files(path: Path) -> list[Path]:
    """List the HDF5 files at or below a path."""
    if path.is_file():
        return [path] if path.suffix in (".hdf5", ".h5") else []
    return listed(path, "**/*.hdf5", "**/*.h5")


def folder_of(path: Path) -> Path:
    """Return the folder of the data set that a path names: itself, or where the file really is."""
    return path if path.is_dir() else path.resolve().parent
