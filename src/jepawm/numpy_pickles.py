"""What stands in for NumPy inside pickled files: scalars and arrays come back, NumPy runs nothing.

Trainings keep losses, step counts and random states as NumPy values, which a reader of tensors
refuses because the file names functions of NumPy. The functions here take their places: they read
bytes as numbers of a checked type, and nothing else. Python objects inside arrays stay refused.
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache

import numpy as np

_TYPE = re.compile(r"[?biufcmMSUV]\d{0,9}|[bBhHiIlLqQefdgFDG]")
"""Names of types of plain values."""
_UNIT = re.compile(r"[A-Za-zμ]{1,2}|generic")
"""Names of units of time."""
_MOST_DIMS = 32


class _Type:
    """A type of numbers, from the text and the byte order that the file gives."""

    def __init__(self, name: object = None, *_flags: object) -> None:
        """Keep the name; a byte order and a unit may follow."""
        text = name.decode("latin1") if isinstance(name, bytes) else name
        if not isinstance(text, str) or not _TYPE.fullmatch(text):
            raise ValueError(f"values of NumPy's type {str(name)[:40]!r} are no plain numbers")
        self.dtype = np.dtype(text)

    def __setstate__(self, state: object) -> None:
        """Take byte order and unit of time; fields of records stay bytes."""
        parts = state if isinstance(state, tuple) else ()
        if len(parts) > 1 and parts[1] in ("<", ">"):
            self.dtype = self.dtype.newbyteorder("<" if parts[1] == "<" else ">")
        if self.dtype.kind in "mM" and len(parts) > 8:
            self.dtype = np.dtype(f"{self.dtype.str[:3]}{_unit(parts[8])}")


class _Array(np.ndarray):
    """An array that is filled by the bytes of the file, once their number fits."""

    def __new__(cls, *_arguments: object) -> "_Array":
        """Return an empty array: its state follows."""
        return np.empty(0, dtype=np.uint8).view(cls)

    def __setstate__(self, state: object, /) -> None:
        """Take shape, type and bytes."""
        parts = state if isinstance(state, tuple) else ()
        if len(parts) != 5:
            raise ValueError("an array of NumPy is damaged")
        _, shape, kind, fortran, data = parts
        dtype = _dtype(kind)
        if isinstance(data, str):
            data = data.encode("latin1")
        if not isinstance(data, bytes | bytearray) or not _fits(shape, dtype, len(data)):
            raise ValueError(f"an array of NumPy has shape {shape}, but not the bytes for it")
        state = (1, shape, dtype, bool(fortran), bytes(data))
        super().__setstate__(state)  # pyright: ignore[reportArgumentType] (NumPy wants a bool)


class _Name:
    """A type of scalars that is only named, as in a configuration."""


@cache
def numpy_stand_ins() -> tuple[tuple[Callable[..., object], str], ...]:
    """Return what reads each of NumPy's names in a file, as torch's list of safe names has it."""
    named: dict[str, Callable[..., object]] = {"numpy.dtype": _Type, "numpy.ndarray": _Array}
    named["builtins.bytes"] = _empty  # how empty arrays and texts keep their bytes
    for module in ("numpy.core", "numpy._core"):
        named[f"{module}.multiarray.scalar"] = _scalar
        named[f"{module}.multiarray._reconstruct"] = _reconstruct
        named[f"{module}.numeric._frombuffer"] = _from_buffer
    for name, kind in vars(np.dtypes).items():
        if isinstance(kind, type) and name not in ("ObjectDType", "StringDType"):
            named[f"numpy.dtypes.{name}"] = _Name
    for kind in set(np.sctypeDict.values()) - {np.object_}:
        named[f"numpy.{kind.__name__}"] = _Name
    return tuple((value, name) for name, value in named.items())


def stands_in(name: str) -> bool:
    """Say whether a full name in a file is one that is read without NumPy running."""
    return any(known == name for _, known in numpy_stand_ins())


def arrays_in(content: Mapping[str, object]) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the entries that are arrays of numbers."""
    for name, value in content.items():
        if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
            yield name, np.array(value, copy=True, subok=False)


def _scalar(kind: object, data: object = b"") -> object:
    """Return the plain value that stands in the bytes."""
    dtype = _dtype(kind)
    if isinstance(data, str):
        data = data.encode("latin1")
    if not isinstance(data, bytes | bytearray) or len(data) != dtype.itemsize:
        raise ValueError(f"a scalar of NumPy's type {dtype} is damaged")
    if dtype.itemsize == 0:
        return "" if dtype.kind == "U" else b""
    value = np.frombuffer(bytes(data), dtype)[0]
    if dtype.kind == "f":
        return float(value)
    return complex(value) if dtype.kind == "c" else value.item()


def _reconstruct(*_arguments: object) -> _Array:
    return _Array()


def _empty(*content: object) -> bytes:
    if content:
        raise ValueError("bytes are made of other values than bytes")
    return b""


def _from_buffer(data: object, kind: object, shape: object, order: object) -> _Array:
    array = _Array()
    array.__setstate__((1, shape, kind, order == "F", data))
    return array


def _dtype(kind: object) -> np.dtype:
    if not isinstance(kind, _Type):
        raise ValueError("a value of NumPy has no type")
    return kind.dtype


def _unit(state: object) -> str:
    """Return the unit of times, as `[ns]`, from `({}, (unit, count, 1, 1))`."""
    parts = state[1] if isinstance(state, tuple) and len(state) == 2 else ()
    name, count = parts[:2] if isinstance(parts, tuple) and len(parts) > 1 else (b"generic", 1)
    text = name.decode("latin1") if isinstance(name, bytes) else str(name)
    if not _UNIT.fullmatch(text) or type(count) is not int or not 0 < count < 2**31:
        raise ValueError("times of NumPy have an unknown unit")
    return "" if text == "generic" else f"[{count}{text}]"


def _fits(shape: object, dtype: np.dtype, num_bytes: int) -> bool:
    if not isinstance(shape, tuple) or len(shape) > _MOST_DIMS:
        return False
    if any(type(size) is not int or size < 0 for size in shape):
        return False
    return math.prod(shape) * dtype.itemsize == num_bytes
