"""The kernels in C++: compiled by the system's compiler at their first use, kept in the cache folder.

Only what this user wrote is loaded, from folders where nobody else can write. The name of a library is the
hash of its sources and flags and that of its compiler, so a change of any of them compiles it anew.
"""

import ctypes
import hashlib
import logging
import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import torch

from jepawm.errors import UserError
from jepawm.files import flush_to_disk, is_only_mine, private_cache

_LOG = logging.getLogger(__name__)
_FOLDER = Path(__file__).parent
_SOURCES = ("split_products.cpp", "split_attention.cpp")
_EXTENSIONS = ("avx512f", "avx512bw", "avx512vl", "avx512dq", "avx512bf16", "fma", "prfchw")
_FLAGS = ("-O3", "-std=c++17", "-shared", "-fPIC", "-mamx-tile", "-mamx-bf16")
_COMPILERS = ("g++", "clang++", "c++")
_NEEDS = "engine.precision = bfloat16x3 needs"
_WAY_OUT = "take another precision, such as float32"
_SWITCH = "JEPAWM_KERNELS"
"""Environment variable that switches the kernels off."""


def has_tiles() -> bool:
    """Return whether this CPU has matrix tiles (AMX)."""
    return torch.cpu._is_amx_tile_supported()  # noqa: SLF001


@cache
def library() -> ctypes.CDLL:
    """Return the kernels, compiled before or now."""
    switch = os.environ.get(_SWITCH, "on")
    if switch not in ("on", "off"):
        raise UserError(f"{_SWITCH} = {switch!r}; set it to on or off")
    if switch == "off":
        raise UserError(f"{_NEEDS} kernels, which {_SWITCH}=off switches off; {_WAY_OUT}")
    if not has_tiles():
        raise UserError(_without_tiles())
    kernels = _open(private_cache("kernels"))
    _declare(kernels)
    if not kernels.jepawm_has_tiles():
        raise UserError(f"{_NEEDS} matrix tiles (AMX), which the system refuses; {_WAY_OUT}")
    return kernels


def _without_tiles() -> str:
    """Say what a CPU without tiles can take, which multiplies bfloat16 in AVX-512 or not at all."""
    if torch.cpu._is_avx512_bf16_supported():  # noqa: SLF001
        return (
            f"{_NEEDS} a CPU with matrix tiles (AMX), and this one multiplies bfloat16 in AVX-512 alone; "
            "take bfloat16, which uses that and is about 3e-3 from float32, or float32"
        )
    return f"{_NEEDS} a CPU with matrix tiles (AMX); {_WAY_OUT}"


def _open(folder: Path) -> ctypes.CDLL:
    """Load the kernels of these sources, flags and compiler from a folder; compiled where they lack."""
    compiler = _find_compiler()
    path = folder / f"{_source_hash()}-{_compiler_hash(compiler)}.so"
    if not compiler:  # what another compiler made of these sources is as good
        path = next(iter(sorted(folder.glob(f"{_source_hash()}-*.so"))), path)
    if path.is_file() and is_only_mine(path):
        try:
            return ctypes.CDLL(str(path))
        except OSError as error:
            _LOG.warning("kernels in %s are damaged (%s); they are compiled anew", path, error)
    compile_kernels(path, compiler)
    return ctypes.CDLL(str(path))


def _source_hash() -> str:
    files = [_FOLDER / name for name in (*_SOURCES, "tiles.hpp")]
    code = b"".join(file.read_bytes() for file in files) + " ".join(_FLAGS + _EXTENSIONS).encode()
    return hashlib.sha256(code).hexdigest()[:16]


def _compiler_hash(command: Sequence[str]) -> str:
    """Return the hash of a command and of the program that it starts: another version is another file."""
    program = shutil.which(command[0]) if command else None
    known = [*command, os.path.realpath(program or "")]
    if program is not None:
        found = Path(program).stat()
        known += [str(found.st_size), str(found.st_mtime_ns)]
    return hashlib.sha256("\0".join(known).encode()).hexdigest()[:8]


def _find_compiler() -> list[str]:
    """Return the command in `CXX`, else the first compiler that is there; empty where none is."""
    try:
        configured = shlex.split(os.environ.get("CXX", ""))
    except ValueError as error:
        raise UserError(f"CXX={os.environ['CXX']!r} is no command ({error}); unset it") from error
    return configured or [name for name in _COMPILERS if shutil.which(name)][:1]


def _declare(kernels: ctypes.CDLL) -> None:
    """Tell the types of arguments; those of results are int where nothing else is said."""
    long, pointer = ctypes.c_long, ctypes.c_void_p
    kernels.jepawm_packed_size.argtypes = [long, long]
    kernels.jepawm_packed_size.restype = long
    kernels.jepawm_pack.argtypes = [pointer, long, long, pointer]
    kernels.jepawm_linear.argtypes = [
        *(pointer, long, long, pointer),
        *(pointer, long, ctypes.c_int, pointer),
    ]
    kernels.jepawm_leave.argtypes = [
        *(pointer, pointer, long, long),
        *(pointer, pointer, ctypes.c_float, pointer),
        *(pointer, pointer, long, pointer, pointer, pointer),
    ]
    for attend in (kernels.jepawm_attend, kernels.jepawm_attend_many):
        attend.argtypes = [pointer, pointer, *4 * (long,), pointer]


def compile_kernels(path: Path, compiler: Sequence[str]) -> None:
    """Compile the kernels by a command to a file that appears when it is whole."""
    if not compiler:
        raise UserError(
            f"{_NEEDS} a C++ compiler, and none of {', '.join(_COMPILERS)} was found; install one, "
            f"name one in CXX, or {_WAY_OUT}"
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            made = Path(folder) / path.name
            extensions = [f"-m{name}" for name in _EXTENSIONS]
            command = [*compiler, *_FLAGS, *extensions, "-o", str(made)]
            command += [str(_FOLDER / source) for source in _SOURCES]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode == 0:
                flush_to_disk(made)
                made.replace(path)
    except OSError as error:
        raise UserError(
            f"cannot compile kernels into {path.parent}: {error}; {_WAY_OUT}"
        ) from error
    if done.returncode != 0:
        first = next((line for line in done.stderr.splitlines() if "error" in line), done.stderr)
        raise UserError(f"{shlex.join(compiler)} fails at the kernels: {first.strip()}; {_WAY_OUT}")
