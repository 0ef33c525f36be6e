"""Columns of Arrow tables as matrices."""

from pathlib import Path

import numpy as np
import pyarrow as pa
from jaxtyping import Shaped

from jepawm.errors import UserError


def matrix(table: pa.Table, name: str, *, file: Path) -> Shaped[np.ndarray, "n d"]:
    """Return a column of numbers or of lists of equal length as rows `[n, d]`, dtype kept."""
    column = table[name].combine_chunks()
    if column.null_count:
        raise UserError(f"{file}: {name} is empty in {column.null_count} rows; fill or leave out")
    width = 1
    if _is_list(column.type):
        widths = set(column.value_lengths().to_pylist()) if len(column) else {0}
        if len(widths) != 1:
            raise UserError(
                f"{file}: rows of {name} have several lengths, {sorted(widths)}; fill or leave out"
            )
        width = widths.pop()
        column = column.flatten()
        if column.null_count:
            raise UserError(f"{file}: {name} holds empty numbers; fill them or leave out the rows")
    if _is_list(column.type):
        raise UserError(f"{file}: rows of {name} are matrices; choose a column of plain vectors")
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        raise UserError(f"{file}: {name} holds {column.type}, not numbers; choose another column")
    return column.to_numpy(zero_copy_only=False).reshape(len(table), width)


def require_columns(there: list[str], wanted: list[str], *, file: Path) -> None:
    """Check that a table has the columns that are wanted."""
    missing = [name for name in wanted if name not in there]
    if missing:
        raise UserError(
            f"{file} lacks the columns {', '.join(missing)}; it has: {', '.join(there)}; rename "
            "columns, or leave the file out"
        )


def _is_list(kind: pa.DataType) -> bool:
    return (
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    )
