from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from jepawm.data.formats.tables import matrix, require_columns
from jepawm.errors import UserError

FILE = Path("a.parquet")


def read(column: object) -> np.ndarray:
    return matrix(pa.table({"x": column}), "x", file=FILE)


def test_numbers_and_vectors_keep_their_type():
    assert read(pa.array([1, 2], pa.int16())).tolist() == [[1], [2]]
    vectors = np.arange(6, dtype=np.float32).reshape(3, 2)
    rows = read(list(vectors))
    assert rows.dtype == np.float32
    assert np.array_equal(rows, vectors)
    fixed = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), 2)
    assert np.array_equal(read(fixed), vectors)
    chunks = pa.chunked_array([fixed[:1], fixed[1:]])
    assert np.array_equal(read(chunks), vectors)


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ([1.0, None], "x is empty in 1 rows"),
        ([[1.0, 2.0], [1.0]], r"rows of x have several lengths, \[1, 2\]; fill or leave out"),
        ([[1.0, None]], "x holds empty numbers"),
        ([[[1.0]], [[2.0]]], "rows of x are matrices"),
        (["a", "b"], "x holds string, not numbers"),
    ],
)
def test_anything_else_is_refused(column: object, message: str):
    with pytest.raises(UserError, match=message):
        read(column)


def test_missing_columns_are_named_beside_those_there_are():
    require_columns(["a", "b"], ["b"], file=FILE)
    with pytest.raises(
        UserError, match=r"a\.parquet lacks the columns c, d; it has: a, b; rename columns"
    ):
        require_columns(["a", "b"], ["c", "a", "d"], file=FILE)
