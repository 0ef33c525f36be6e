"""The kernels in C++: compiled by the system's compiler at their first use, kept in the cache folder.

Only what this user wrote is loaded, from folders where nobody else can write.
"""

import ctypes
import hashlib
import os
import shlex
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import torch

from jepawm.errors import UserError
from jepawm.files import is_only_mine, private_cache

_FOLDER = Path(__file__).parent
_SOURCES = ("split_products.cpp", "split_attention.cpp")
_EXTENSIONS = ("avx512f", "avx512bw", "avx512vl", "avx512dq", "avx512bf16", "fma", "prfchw")
_FLAGS = ("-O3", "-std=c++17", "-shared", "-fPIC", "-mamx-tile", "-mamx-bf16")
_COMPILERS = ("g++", "clang++", "c++")
_NEEDS = "engine.precision = bfloat16x3 needs"
_WAY_OUT = "take another precision, such as float32"


def has_tiles() -> bool:
    """Return whether this CPU has matrix tiles (AMX)."""
    return torch.cpu._is_amx_tile_supported()  # noqa: SLF001


@cache
def library() -> ctypes.CDLL:
    """Return the kernels, compiled before or now."""
    if not has_tiles():
        raise UserError(f"{_NEEDS} a CPU with matrix tiles (AMX); {_WAY_OUT}")
    files = [_FOLDER / name for name in (*_SOURCES, "tiles.hpp")]
    code = b"".join(file.read_bytes() for file in files) + " ".join(_FLAGS + _EXTENSIONS).encode()
    path = private_cache("kernels") / f"{hashlib.sha256(code).hexdigest()[:16]}.so"
    if not path.is_file() or not is_only_mine(path):
        _compile(path)
    kernels = ctypes.CDLL(str(path))
    _declare(kernels)
    if not kernels.jepawm_has_tiles():
        raise UserError(f"{_NEEDS} matrix tiles (AMX), which the system refuses; {_WAY_OUT}")
    return kernels


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


def _compile(path: Path) -> None:
    """Compile the kernels to a file that appears when it is whole."""
    configured = shlex.split(os.environ.get("CXX", ""))
    compiler = configured or [name for name in _COMPILERS if shutil.which(name)][:1]
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
                made.replace(path)
    except OSError as error:
        raise UserError(
            f"cannot compile kernels into {path.parent}: {error}; {_WAY_OUT}"
        ) from error
    if done.returncode != 0:
        first = next((line for line in done.stderr.splitlines() if "error" in line), done.stderr)
        raise UserError(f"{shlex.join(compiler)} fails at the kernels: {first.strip()}; {_WAY_OUT}")
