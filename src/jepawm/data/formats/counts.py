"""Pickled lengths of episodes: whole numbers, NumPy's and torch's too, without unpickling.

The operations of the pickle are followed one by one. What it names is looked up in one table of
stand-ins of our own, which only take numbers apart; all else is refused.
"""

import io
import pickletools
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64

from jepawm.border import foreign
from jepawm.data.recording import require_own
from jepawm.errors import UserError, plain_text

_MOST_BYTES = 2**26
_LARGEST = 2**62
_INT = re.compile(r"[iu][1248]")
_REMEDY = "save the lengths as a plain list of int"
_VALUES = re.compile(
    r"(SHORT_)?BIN(INT\d?|UNICODE8?|STRING|BYTES8?|FLOAT)|BYTEARRAY8|LONG[14]?|INT|FLOAT|UNICODE|STRING"
)
"""Operations whose argument is a value."""
_NOTHING = ("PROTO", "FRAME", "STOP")
_MARK = object()


def load_counts(path: Path, name: str) -> Int64[np.ndarray, " n"]:
    """Read pickled whole numbers of a folder: a list, an array or a tensor."""
    file = path / name
    require_own(path, file)
    if file.stat().st_size > _MOST_BYTES:
        raise UserError(f"{file} is too large for a list of lengths; copy it again")
    with foreign(file, "list of whole numbers"):
        found = list(_whole(_Stack(file).follow(file.read_bytes()), file))
        if any(abs(one) >= _LARGEST for one in found):
            raise UserError(f"{file} holds numbers that are no lengths; {_REMEDY}")
        return np.array(found, dtype=np.int64)


def _more(file: Path, what: str) -> UserError:
    return UserError(
        f"{file} holds more than a list of whole numbers ({plain_text(what)}); {_REMEDY}"
    )


class _Stack:
    """What a pickle has built so far."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._values: list[Any] = []
        self._memo: dict[int, Any] = {}

    def follow(self, content: bytes) -> object:
        """Return what the operations of a pickle build."""
        for operation, argument, _ in pickletools.genops(content):
            self._do(operation.name, argument)
        if len(self._values) != 1:
            raise ValueError("nothing, or more than one thing")
        return self._values[0]

    def _do(self, name: str, argument: Any) -> None:  # noqa: ANN401 - what an operation says
        values = self._values
        if _VALUES.fullmatch(name):
            values.append(argument)
        elif name in _PUSHES:
            values.append(_PUSHES[name]())
        elif name in ("TUPLE", "LIST", "APPENDS", "SETITEMS"):
            self._gather(name)
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            values[-int(name[-1]) :] = [tuple(values[-int(name[-1]) :])]
        elif name == "APPEND":
            values[-2].append(values.pop())
        elif name == "MEMOIZE" or name.endswith("PUT"):
            self._memo[len(self._memo) if name == "MEMOIZE" else argument] = values[-1]
        elif name.endswith("GET"):
            values.append(self._memo[argument])
        elif name == "GLOBAL":
            values.append(self._named(*argument.split(" ", 1)))
        elif name == "STACK_GLOBAL":
            values[-2:] = [self._named(*values[-2:])]
        elif name == "REDUCE":
            values[-2:] = [values[-2](*values[-1])]
        elif name == "BUILD":
            values[-2].build(values.pop())
        elif name not in _NOTHING:
            raise _more(self._file, name)

    def _gather(self, name: str) -> None:
        """Make a container of what follows the last mark, or put it into the one before."""
        place = len(self._values) - 1 - self._values[::-1].index(_MARK)
        items = self._values[place + 1 :]
        del self._values[place:]
        if name == "APPENDS":
            self._values[-1].extend(items)
        elif name != "SETITEMS":  # hooks of a tensor, which play no part
            self._values.append(tuple(items) if name == "TUPLE" else items)

    def _named(self, module: str, name: str) -> Callable[..., object]:
        stand_in = _STAND_INS.get((module.replace("numpy.core", "numpy._core"), name))
        if stand_in is None:
            raise _more(self._file, f"{module}.{name}")
        return stand_in


_PUSHES: Mapping[str, Callable[[], object]] = {
    "MARK": lambda: _MARK,
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
    "EMPTY_DICT": dict,
}


class _Dtype:
    """What a pickle says of a type of numbers."""

    def __init__(self, code: str, *_: object) -> None:
        self._code, self._order = code, "<"

    def build(self, state: tuple[Any, ...]) -> None:
        """Take the byte order."""
        self._order = ">" if state[1] == ">" else "<"

    def numbers(self, data: bytes | bytearray | str) -> np.ndarray:
        """Return bytes as whole numbers."""
        if not _INT.fullmatch(self._code):
            raise ValueError(f"numbers of type {self._code!r} are no lengths")
        plain = data.encode("latin1") if isinstance(data, str) else bytes(data)
        return np.frombuffer(plain, np.dtype(self._order + self._code))


class _Array:
    """What a pickle says of an array."""

    def __init__(self, numbers: np.ndarray | None = None, shape: tuple[int, ...] = ()) -> None:
        self.numbers, self.shape = numbers, shape

    def build(self, state: tuple[Any, ...]) -> None:
        """Take shape, type and bytes."""
        shape, dtype, _, data = state[-4:]
        self.shape, self.numbers = tuple(shape), dtype.numbers(data)


def _scalar(dtype: _Dtype, data: bytes | bytearray | str) -> _Array:
    return _Array(dtype.numbers(data)[:1], ())


def _from_buffer(
    data: bytes | bytearray,
    dtype: _Dtype,
    *rest: Any,  # noqa: ANN401 - what NumPy writes
) -> _Array:
    return _Array(dtype.numbers(data), tuple(rest[0]))


def _storage(content: bytes) -> object:
    return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)


def _tensor(storage: Any, offset: int, *rest: Any) -> _Array:  # noqa: ANN401 - what torch writes
    size, stride = tuple(rest[0]), tuple(rest[1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # storages with a type are of torch's past
        numbers = torch.tensor(storage.tolist())
    if numbers.is_floating_point() or len(size) > 1 or stride not in ((), (1,)):
        raise ValueError("a tensor of other than whole numbers in a row")
    count = size[0] if size else 1
    return _Array(numbers.numpy()[offset : offset + count], size)


_STAND_INS: Mapping[tuple[str, str], Callable[..., object]] = {
    ("numpy", "dtype"): _Dtype,
    ("numpy", "ndarray"): _Array,
    ("numpy._core.multiarray", "_reconstruct"): lambda *_: _Array(),
    ("numpy._core.multiarray", "scalar"): _scalar,
    ("numpy._core.numeric", "_frombuffer"): _from_buffer,
    ("_codecs", "encode"): lambda text, _: text.encode("latin1"),
    ("collections", "OrderedDict"): dict,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch.storage", "_load_from_bytes"): _storage,
}


def _whole(content: object, file: Path) -> Iterator[int]:
    """Yield the whole numbers of a list, a tuple or an array, in order."""
    if isinstance(content, _Array) and len(content.shape) == 1:
        yield from _numbers(content, file)
    elif isinstance(content, list | tuple):
        for one in content:
            if isinstance(one, _Array):
                numbers = _numbers(one, file)
                if len(numbers) != 1:
                    raise _more(file, "several lists")
                yield from numbers
            elif type(one) is int:
                yield one
            else:
                what = "several lists" if isinstance(one, list | tuple) else type(one).__name__
                raise _more(file, what)
    else:
        raise UserError(f"{file} holds no list; {_REMEDY}")


def _numbers(array: _Array, file: Path) -> list[int]:
    if array.numbers is None:
        raise _more(file, "an array without numbers")
    expected = array.shape[0] if array.shape else 1
    if len(array.numbers) != expected:
        raise UserError(
            f"{file} is damaged: {len(array.numbers)} numbers, not {expected}; copy it again"
        )
    return [int(one) for one in array.numbers]
