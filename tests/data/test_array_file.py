from pathlib import Path

import numpy as np
import pytest

from jepawm.data.array_file import ArrayFile
from jepawm.errors import UserError


@pytest.mark.parametrize(("row_shape", "dtype"), [((3, 4, 4), "|u1"), ((2,), "<f8"), ((), "<f4")])
def test_numpy_reads_what_was_appended(tmp_path: Path, row_shape: tuple[int, ...], dtype: str):
    generator = np.random.default_rng(0)
    parts = [generator.integers(0, 100, (n, *row_shape)).astype(dtype) for n in (3, 0, 12345)]
    file = ArrayFile(tmp_path / "a.npy", row_shape=row_shape, dtype=dtype)
    for part in parts:
        file.append(part)
    file.close()
    loaded = np.load(tmp_path / "a.npy", mmap_mode="r")
    assert loaded.dtype.str == dtype
    assert np.array_equal(loaded, np.concatenate(parts))


def test_a_file_goes_on_after_the_rows_that_are_kept(tmp_path: Path):
    path = tmp_path / "a.npy"
    rows = np.arange(10, dtype="<f4").reshape(5, 2)
    file = ArrayFile(path, row_shape=(2,), dtype="<f4")
    file.append(rows)
    file.flush()
    file.discard()
    file = ArrayFile(path, row_shape=(2,), dtype="<f4", keep_rows=3)
    file.append(rows[:1])
    file.close()
    assert np.array_equal(np.load(path), rows[[0, 1, 2, 0]])
    with pytest.raises(UserError, match="lost rows: 5 were written"):
        ArrayFile(path, row_shape=(2,), dtype="<f4", keep_rows=5)


def test_values_are_cast(tmp_path: Path):
    file = ArrayFile(tmp_path / "a.npy", row_shape=(1,), dtype="<f4")
    file.append(np.array([[0.1]]))
    file.close()
    assert np.load(tmp_path / "a.npy")[0, 0] == np.float32(0.1)


def test_wrong_rows_are_refused(tmp_path: Path):
    file = ArrayFile(tmp_path / "a.npy", row_shape=(2,), dtype="<f4")
    with pytest.raises(ValueError, match="expected"):
        file.append(np.zeros((1, 3)))
    file.discard()
