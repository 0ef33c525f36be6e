"""Mutations of any file for `fuzz.py`: its bytes, its kind, what is no regular file, names.

A mutation changes one file in place and returns, in words, what it did. `UnfitError` says that it does
not suit the file, and another is drawn.
"""

import os
import random
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


class UnfitError(Exception):
    """A mutation that does not suit this file."""


@dataclass(frozen=True, kw_only=True)
class Ground:
    """What a mutation may use."""

    random: random.Random
    """Its only source of chance."""
    source: Path
    """Folder, or file, of the whole data set, run or checkpoint."""
    secret: Path
    """Folder outside of it that nothing may read; files `secret.*` of every kind."""

    def choose(self, options: object) -> object:
        """Draw one of several."""
        return self.random.choice(list(options))  # pyright: ignore[reportArgumentType]

    def secret_path(self, file: Path, *, ending: str | None = None) -> str:
        """Name a secret file, absolute or relative to the source or to the folder of `file`."""
        secret = self.secret / f"secret{file.suffix if ending is None else ending}"
        folder = self.source if self.source.is_dir() else self.source.parent
        relative = [os.path.relpath(secret, start) for start in (folder, file.parent)]
        return self.random.choice([str(secret), *relative])


Mutation = Callable[[Path, Ground], str]


# --- bytes of any file ---------------------------------------------------------------------------


def flip_bits(path: Path, ground: Ground) -> str:
    """Flip some bits: anywhere, in the head, or in the tail."""
    data = bytearray(_content(path))
    where = ground.random.choice(["anywhere", "head", "tail"])
    low, high = {
        "anywhere": (0, len(data)),
        "head": (0, min(256, len(data))),
        "tail": (max(0, len(data) - 256), len(data)),
    }[where]
    count = ground.random.choice([1, 2, 8, 64])
    for _ in range(count):
        data[ground.random.randrange(low, high)] ^= 1 << ground.random.randrange(8)
    path.write_bytes(data)
    return f"{count} bits flipped, {where}"


def cut(path: Path, ground: Ground) -> str:
    """Keep the first bytes only."""
    data = _content(path)
    kept = ground.random.choice([0, 1, len(data) // 2, len(data) - 1, max(0, len(data) - 100)])
    path.write_bytes(data[:kept])
    return f"cut to {kept} of {len(data)} bytes"


def overwrite(path: Path, ground: Ground) -> str:
    """Overwrite, insert, or remove a run of bytes."""
    data = _content(path)
    start = ground.random.randrange(len(data))
    size = ground.random.choice([1, 4, 16, 512, len(data) - start])
    how = ground.random.choice(["zeros", "ones", "noise", "insert", "remove", "double"])
    piece = data[start : start + size]
    new = {
        "zeros": bytes(len(piece)),
        "ones": b"\xff" * len(piece),
        "noise": ground.random.randbytes(len(piece)),
        "insert": ground.random.randbytes(size) + piece,
        "remove": b"",
        "double": piece + piece,
    }[how]
    path.write_bytes(data[:start] + new + data[start + len(piece) :])
    return f"{how}: {len(piece)} bytes at {start}"


FOREIGN = {
    "text": b"This is a text.\n" * 20,
    "HTML": b"<!DOCTYPE html><html><body>404 Not Found</body></html>\n",
    "LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1234\n",
    "zip head": b"PK\x03\x04" + bytes(60),
    "gzip": b"\x1f\x8b\x08\x00" + bytes(30),
    "pickle": b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x0etouch executed\x85R.",
    "EPS": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(x) print\nshowpage\n",
    "npy": b"\x93NUMPY\x01\x00\x76\x00{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }",
    "svg": b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'></svg>",
    "zeros": bytes(4096),
}
"""Contents of other kinds."""


def replace_content(path: Path, ground: Ground) -> str:
    """Put a file of another kind in its place."""
    _content(path)
    name = ground.random.choice(sorted(FOREIGN))
    path.write_bytes(FOREIGN[name])
    return f"replaced by {name}"


def replace_node(path: Path, ground: Ground) -> str:
    """Put something in its place that is no regular file of the data set."""
    kinds = [
        "fifo",
        "socket",
        "folder",
        "missing",
        "dangling",
        "loop",
        "secret",
        "device",
        "zero",
        "memory",
        "long",
    ]
    kind = ground.random.choice(kinds)
    path.unlink()
    targets = {
        "dangling": path.with_name("nowhere"),
        "loop": path,
        "secret": ground.secret_path(path),
        "device": "/dev/null",
        "zero": "/dev/zero",
        "memory": "/proc/self/mem",
        "long": "x" * 300,
    }
    if kind in targets:
        try:
            path.symlink_to(targets[kind])
        except OSError as error:
            raise UnfitError from error
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "socket":
        _bind(path)
    elif kind == "folder":
        path.mkdir()
    return f"{kind} in its place"


def add_neighbour(path: Path, ground: Ground) -> str:
    """Copy the file to a name beside it that is odd, or like that of another episode."""
    names: list[str | bytes] = [
        f"0{path.name}",
        f"{path.stem}_copy{path.suffix}",
        f".{path.name}",
        f"{path.name}~",
        f"\x1b[31m{path.name}",
        f"new\nline{path.suffix}",
        b"caf\xe9" + os.fsencode(path.suffix),
        f"-{path.name}",
        f"{path.stem}99999999999999999999{path.suffix}",
        f"{path.stem}²{path.suffix}",
        f"Ünï {path.name}",
    ]
    name = ground.random.choice(names)
    path.with_name(os.fsdecode(name)).write_bytes(_content(path))
    return f"also as {name!r}"


def _content(path: Path) -> bytes:
    data = path.read_bytes()
    if not data:
        raise UnfitError
    return data


def _bind(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        try:
            one.bind(str(path))
        except OSError as error:  # the path is too long for a socket
            raise UnfitError from error


ANY: tuple[Mutation, ...] = (flip_bits, cut, overwrite, replace_content)
NODES: tuple[Mutation, ...] = (replace_node, add_neighbour)
