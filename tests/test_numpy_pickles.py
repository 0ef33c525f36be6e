"""NumPy values inside files of torch: each comes back as what it was, and nothing runs."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from jepawm.errors import UserError
from jepawm.numpy_pickles import numpy_stand_ins
from jepawm.torch_files import load_tensors

SCALARS = [
    *(np.float16(1.5), np.float32(-2.25), np.float64(1e300), np.longdouble(0.5)),
    *(np.int8(-3), np.int16(300), np.int32(-70000), np.int64(2**40)),
    *(np.uint8(200), np.uint16(60000), np.uint32(2**31), np.uint64(2**63)),
    *(np.bool_(1), np.complex64(1 + 2j), np.complex128(1 - 2j)),
    *(np.str_("abc"), np.str_(""), np.bytes_(b"xy")),
    *(np.datetime64("2026-11-27", "D"), np.timedelta64(90, "s")),
]


def saved(path: Path, value: object) -> object:
    torch.save({"epoch": value, "w": torch.ones(2)}, path)
    found = load_tensors(path)
    assert isinstance(found, dict)
    assert torch.equal(found["w"], torch.ones(2))
    return found["epoch"]


@pytest.mark.parametrize("value", SCALARS, ids=lambda x: type(x).__name__)
def test_a_scalar_of_every_type_comes_back(tmp_path: Path, value: np.generic):
    found = saved(tmp_path / "x.pth", value)
    expected = value.item()
    if isinstance(value, np.longdouble):
        expected = 0.5
    assert found == expected
    assert type(found) in (float, int, bool, complex, str, bytes, type(expected))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    "kind", ["f2", "f4", "f8", "i1", "u2", "i4", "u8", "b1", "c8", "U3", "M8[ns]"]
)
def test_an_array_comes_back_in_every_order(tmp_path: Path, order: str, kind: str):
    array = np.asfortranarray(np.arange(6).reshape(2, 3).astype("i8").astype(np.dtype(kind)))
    array = array.astype(array.dtype.newbyteorder(order))
    found = saved(tmp_path / "x.pth", array)
    assert isinstance(found, np.ndarray)
    assert found.dtype == array.dtype.newbyteorder("=")
    assert np.array_equal(found, array)


def test_states_of_generators_types_and_records_do_not_block_a_file(tmp_path: Path):
    for value in (
        np.random.RandomState(0).get_state(),
        np.random.default_rng(0).bit_generator.state,
        {"dtype": np.float32, "kind": np.dtype(">f4"), "empty": np.zeros((0, 3))},
        np.zeros(2, [("a", "f4"), ("b", "i8")]),
    ):
        saved(tmp_path / "x.pth", value)


def test_names_of_older_numpy_count(tmp_path: Path):
    """NumPy 1 called its core without the underscore."""
    known = {name for _, name in numpy_stand_ins()}
    assert {"numpy.core.multiarray.scalar", "numpy.core.multiarray._reconstruct"} <= known
    file = tmp_path / "x.pth"
    torch.save({"loss": np.float64(0.25)}, file, _use_new_zipfile_serialization=False)
    file.write_bytes(file.read_bytes().replace(b"numpy._core.", b"numpy.core."))
    assert load_tensors(file) == {"loss": 0.25}


class Given:
    """Is pickled as a call of a function of NumPy with the given arguments."""

    def __init__(self, *call: object) -> None:
        self.call = call

    def __reduce__(self) -> tuple:
        return self.call  # type: ignore[return-value]


reconstruct = np.zeros(1).__reduce__()[0]
scalar = np.float64(1).__reduce__()[0]


@pytest.mark.parametrize(
    "value",
    [
        np.array([1, "a", None], dtype=object),
        Given(scalar, (np.dtype("f8"), b"123")),
        Given(scalar, (np.dtype("O"), b"12345678")),
        Given(reconstruct, (np.ndarray, (0,), b"b"), (1, (10**9,), np.dtype("f8"), False, b"12345678")),
        Given(reconstruct, (np.ndarray, (0,), b"b"), (1, (-1, -1), np.dtype("u1"), False, b"1")),
        Given(reconstruct, (np.ndarray, (0,), b"b"), (1, (1,), np.dtype("O"), False, [print])),
        Given(np.dtype, ("f8,O",)),
        Given(bytes, (10**12,)),
    ],
)  # fmt: skip
def test_objects_and_false_sizes_are_refused(tmp_path: Path, value: object):
    torch.save({"a": value}, tmp_path / "x.pth")
    with pytest.raises(UserError, match=r"x\.pth"):
        load_tensors(tmp_path / "x.pth")


def test_what_runs_something_is_still_refused(tmp_path: Path):
    """Other functions of NumPy stay unknown: some of them read files or run code."""
    for function in (np.load, np.frombuffer, np.vectorize, np.lib.format.open_memmap):
        torch.save({"a": Given(function, ("x",))}, tmp_path / "x.pth")
        with pytest.raises(UserError, match=r"x\.pth is damaged or no file of tensors"):
            load_tensors(tmp_path / "x.pth")
    assert not [f for f, _ in numpy_stand_ins() if f.__module__ != "jepawm.numpy_pickles"]
    assert pickle.loads(pickle.dumps(np.float64(1))) == 1  # NumPy itself is untouched
