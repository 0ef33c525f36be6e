"""float32 products as three products of bfloat16, on the matrix tiles (AMX) of newer Intel CPUs.

The kernels of `split_products.cpp` are compiled by the system's C++ compiler at their first use and
kept in the user's cache folder. Errors of products are about 3e-6 of their size; those of float32
products are 3e-7, of bfloat16 products 3e-3.
"""

import ctypes
import hashlib
import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from jepawm.errors import UserError
from jepawm.folders import cache_folder

_SOURCE = Path(__file__).with_suffix(".cpp")
_EXTENSIONS = ("avx512f", "avx512bw", "avx512vl", "avx512dq", "avx512bf16", "fma", "prfchw")
_FLAGS = ("-O3", "-std=c++17", "-shared", "-fPIC", "-mamx-tile", "-mamx-bf16")
_COMPILERS = ("g++", "clang++", "c++")
_NEEDS = "engine.precision = bfloat16x3 needs"
_WAY_OUT = "take another precision, such as float32"


def has_tiles() -> bool:
    """Return whether this CPU has matrix tiles."""
    return torch.cpu._is_amx_tile_supported()  # noqa: SLF001


@contextmanager
def split_products() -> Iterator[None]:
    """Let packed products be split.

    Raises:
        UserError: if this machine has no matrix tiles, or no compiler.
    """
    library()
    token = _SPLITTING.set(True)
    try:
        yield
    finally:
        _SPLITTING.reset(token)


def is_splitting() -> bool:
    """Return whether packed products are to be split."""
    return _SPLITTING.get()


_SPLITTING: ContextVar[bool] = ContextVar("splitting", default=False)


@dataclass(frozen=True)
class SplitWeight:
    """A weight as highs and lows, in tiles."""

    tiles: Tensor
    """Two bytes for each high and low."""
    num_outputs: int
    """Rows of the weight."""


def split_weight(weight: Float[Tensor, "n_out n_in"]) -> SplitWeight:
    """Split a contiguous weight on the CPU."""
    num_outputs, num_inputs = weight.shape
    size = library().jepawm_packed_size(num_outputs, num_inputs)
    numbers = torch.empty(size + 32, dtype=torch.int16)
    start = -numbers.data_ptr() // 2 % 32  # tiles are read fastest from multiples of 64 bytes
    tiles = numbers[start : start + size]
    library().jepawm_pack(weight.data_ptr(), num_outputs, num_inputs, tiles.data_ptr())
    return SplitWeight(tiles, num_outputs)


def split_linear(
    x: Float[Tensor, "*b n_in"],
    weight: SplitWeight,
    *,
    bias: Float[Tensor, " n_out"] | None,
    gelu: bool = False,
) -> Float[Tensor, "*b n_out"]:
    """Return `x weight^T + bias`, through GELU if wanted."""
    return torch.ops.jepawm.split_linear(
        x.contiguous(), weight.tiles, bias, weight.num_outputs, gelu
    )


def _linear(x: Tensor, tiles: Tensor, bias: Tensor | None, num_outputs: int, gelu: bool) -> Tensor:
    out = x.new_empty(*x.shape[:-1], num_outputs)
    num_inputs = x.shape[-1]
    library().jepawm_linear(
        x.data_ptr(),
        x.numel() // num_inputs,
        num_inputs,
        tiles.data_ptr(),
        _pointer(bias),
        num_outputs,
        gelu,
        out.data_ptr(),
    )
    return out


class _Codes(ctypes.Structure):
    """What AdaLN makes of a condition; row r of the tokens has row (r / tokens) % count of it."""

    _fields_ = (
        ("parts", ctypes.c_void_p * 4),
        ("strides", ctypes.c_long * 4),
        ("count", ctypes.c_long),
        ("tokens", ctypes.c_long),
    )


def split_leave(
    x: Float[Tensor, "*b n width"],
    attended: Float[Tensor, "*b n width"],
    *,
    norm: nn.LayerNorm,
    codes: Sequence[Float[Tensor, "*c 1 width"]] | None,
    weights: tuple[SplitWeight, SplitWeight],
    biases: tuple[Tensor | None, Tensor | None],
) -> Float[Tensor, "*b n width"]:
    """Return `y + gate2 * MLP(LN(y) * scale2 + shift2)` with `y = x + gate1 * attended`.

    Args:
        x: tokens.
        attended: what attention found.
        norm: the norm.
        codes: first gate, second shift, scale and gate, for the last of the axes `*b`; or none.
        weights: of the two maps of the MLP.
        biases: of these.
    """
    return torch.ops.jepawm.split_leave(
        x.contiguous(),
        attended.contiguous(),
        [norm.weight, norm.bias],
        norm.eps,
        [code.flatten(0, -3) for code in codes or []],
        [weight.tiles for weight in weights],
        biases,
        weights[0].num_outputs,
    )


def _leave(
    x: Tensor,
    attended: Tensor,
    norm: list[Tensor],
    eps: float,
    codes: list[Tensor],
    tiles: list[Tensor],
    biases: list[Tensor | None],
    hidden: int,
) -> Tensor:
    out = torch.empty_like(x)
    width = x.shape[-1]
    told = None
    if codes:
        pointers = (ctypes.c_void_p * 4)(*(part.data_ptr() for part in codes))
        strides = (ctypes.c_long * 4)(*(part.stride(0) for part in codes))
        told = ctypes.byref(_Codes(pointers, strides, len(codes[0]), x.shape[-2]))
    library().jepawm_leave(
        *(x.data_ptr(), attended.data_ptr(), x.numel() // width, width),
        *(norm[0].data_ptr(), norm[1].data_ptr(), eps, told),
        *(tiles[0].data_ptr(), _pointer(biases[0]), hidden),
        *(tiles[1].data_ptr(), _pointer(biases[1]), out.data_ptr()),
    )
    return out


class _Part(ctypes.Structure):
    """Queries, keys or values `[V, R, 1, heads, h]` of one frame."""

    _fields_ = (
        ("start", ctypes.c_void_p),
        ("window_stride", ctypes.c_long),
        ("candidate_stride", ctypes.c_long),
        ("windows", ctypes.c_long),
    )


def attend_split(
    query: Float[Tensor, "V R 1 heads h"],
    keys: Sequence[Float[Tensor, "_ R 1 heads h"]],
    values: Sequence[Float[Tensor, "_ R 1 heads h"]],
) -> Float[Tensor, "V R 1 heads h"]:
    """Do what `attend_to_few` does, in float32 but in one pass."""
    return torch.ops.jepawm.attend_few(query, list(keys), list(values))


def _attend(query: Tensor, keys: list[Tensor], values: list[Tensor]) -> Tensor:
    num_heads, width = query.shape[-2:]
    read = [
        part if part.stride()[-2:] == (width, 1) else part.contiguous()
        for part in (query, *keys, *values)
    ]
    parts = [_Part(part.data_ptr(), part.stride(0), part.stride(1), len(part)) for part in read]
    out = torch.empty(query.shape, dtype=query.dtype)
    library().jepawm_attend(
        *(ctypes.byref(parts[0]), (_Part * (len(parts) - 1))(*parts[1:]), len(keys)),
        *(query.shape[1], num_heads, width, out.data_ptr()),
    )
    return out


def _pointer(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()


@cache
def operators() -> torch.library.Library:
    """Make the kernels operators of torch, so that their operations are counted."""
    library = torch.library.Library("jepawm", "DEF")
    library.define("attend_few(Tensor query, Tensor[] keys, Tensor[] values) -> Tensor")
    library.impl("attend_few", _attend, "CPU")
    library.define("split_linear(Tensor x, Tensor tiles, Tensor? bias, int n, bool gelu) -> Tensor")
    library.impl("split_linear", _linear, "CPU")
    library.define(
        "split_leave(Tensor x, Tensor attended, Tensor[] norm, float eps, Tensor[] codes,"
        " Tensor[] tiles, Tensor?[] biases, int hidden) -> Tensor"
    )
    library.impl("split_leave", _leave, "CPU")
    return library


@cache
def library() -> ctypes.CDLL:
    """Return the kernels, compiled before or now.

    Raises:
        UserError: if this machine has no matrix tiles, or no compiler.
    """
    operators()
    if not has_tiles():
        raise UserError(f"{_NEEDS} a CPU with matrix tiles (AMX); {_WAY_OUT}")
    code = _SOURCE.read_bytes()
    name = hashlib.sha256(code + " ".join(_FLAGS + _EXTENSIONS).encode()).hexdigest()[:16]
    path = cache_folder() / "jepawm" / f"split_products-{name}.so"
    if not path.is_file():
        _compile(path)
    kernels = ctypes.CDLL(str(path))
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
    kernels.jepawm_attend.argtypes = [pointer, pointer, *4 * (long,), pointer]
    if not kernels.jepawm_has_tiles():
        raise UserError(f"{_NEEDS} matrix tiles (AMX), which the system refuses; {_WAY_OUT}")
    return kernels


def _compile(path: Path) -> None:
    """Compile the kernels to a file that appears when it is whole."""
    configured = shlex.split(os.environ.get("CXX", ""))
    compiler = configured or [name for name in _COMPILERS if shutil.which(name)][:1]
    if not compiler:
        raise UserError(
            f"{_NEEDS} a C++ compiler, and none of {', '.join(_COMPILERS)} is there; install one, "
            f"name one in CXX, or {_WAY_OUT}"
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            made = Path(folder) / path.name
            extensions = [f"-m{name}" for name in _EXTENSIONS]
            command = [*compiler, *_FLAGS, *extensions, "-o", str(made), str(_SOURCE)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode == 0:
                made.replace(path)
    except OSError as error:
        raise UserError(
            f"cannot compile kernels into {path.parent}: {error}; {_WAY_OUT}"
        ) from error
    if done.returncode != 0:
        first = next((line for line in done.stderr.splitlines() if "error" in line), done.stderr)
        raise UserError(
            f"{shlex.join(compiler)} fails at {_SOURCE.name}: {first.strip()}; {_WAY_OUT}"
        )
