"""What passes between a server and its client: maps in msgpack, arrays as their bytes. Nothing is unpickled."""

from collections.abc import Mapping
from types import ModuleType

import numpy as np

from jepawm.errors import UserError, missing_extra

MOST_BYTES = 2**26
"""Longest frame: a picture of 4096 x 4096 has 50 MB."""
_DTYPES = ("uint8", "float32", "float64")
_MOST_NUMBERS = 4096


def require_msgpack() -> ModuleType:
    """Import what packs frames."""
    try:
        import msgpack
    except ImportError as error:
        raise missing_extra("serving", error, package="msgpack", extra="serve") from error
    return msgpack


def pack(content: Mapping[str, object]) -> bytes:
    """Return a frame of a map of plain values and arrays."""
    return require_msgpack().packb({name: _plain(value) for name, value in content.items()})


def unpack(frame: object) -> dict[str, object]:
    """Return the map of a frame; arrays stay as they came, see `to_array`."""
    if not isinstance(frame, bytes):
        raise UserError("the frame is a text; send binary frames, maps in msgpack")
    msgpack = require_msgpack()
    try:
        content = msgpack.unpackb(frame, raw=False, strict_map_key=True, max_ext_len=0)
    except (ValueError, TypeError, RecursionError, msgpack.exceptions.UnpackException) as error:
        raise UserError(f"the frame of {len(frame):,} bytes is no msgpack ({error})") from error
    if not isinstance(content, dict):
        raise UserError(f"the frame holds a {type(content).__name__}; send a map with the entry do")
    return content


def to_array(value: object, what: str) -> np.ndarray:
    """Return an array of `{"dtype", "shape", "data"}`, its bytes in C order."""
    if not isinstance(value, dict) or set(value) != {"dtype", "shape", "data"}:
        raise UserError(f"{what} is no array; send a map with dtype, shape and data (its bytes)")
    dtype, shape, data = value["dtype"], value["shape"], value["data"]
    sides = isinstance(shape, list) and all(type(one) is int and 0 <= one < 2**20 for one in shape)
    if dtype not in _DTYPES or not sides or not 1 <= len(shape) <= 4 or not isinstance(data, bytes):
        raise UserError(f"{what} has no dtype of {', '.join(_DTYPES)}, no shape, or no bytes")
    size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    if size != len(data):
        raise UserError(f"{what} of {dtype} {shape} needs {size} bytes and has {len(data)}")
    return np.frombuffer(data, dtype=np.dtype(dtype).newbyteorder("<")).reshape(shape)


def to_numbers(value: object, what: str) -> np.ndarray | None:
    """Return numbers, given as a list or as an array; None where there are none."""
    if value is None:
        return None
    if isinstance(value, dict):
        return to_array(value, what).astype(np.float64).reshape(-1)
    numbers = isinstance(value, list) and all(type(one) in (int, float) for one in value)
    if not numbers or not 1 <= len(value) <= _MOST_NUMBERS:  # pyright: ignore[reportArgumentType]
        raise UserError(f"{what} are no numbers; send a list of them, or an array")
    return np.array(value, dtype=np.float64)


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    if not isinstance(value, np.ndarray):
        return value
    array = np.ascontiguousarray(value, dtype=value.dtype.newbyteorder("<"))
    return {"dtype": value.dtype.name, "shape": list(value.shape), "data": array.tobytes()}
