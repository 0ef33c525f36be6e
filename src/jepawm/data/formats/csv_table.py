"""Tables of CSV as people's programs write them: commas, semicolons or tabs, decimal commas, texts.

Names of columns lose spaces around them. The column `episode` is text: `000` is no number.
"""

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pc

from jepawm.border import foreign
from jepawm.data.recording import require_distinct
from jepawm.errors import UserError, plain_text

EPISODE = "episode"
_LOWERED = (EPISODE, "task")
_SEPARATORS = (",", ";", "\t", "|")
_HEAD = 2**16
_DECIMAL_COMMA = re.compile(r"\s*[-+]?\d*,\d+([eE][-+]?\d+)?\s*")
_WIDE = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}


@dataclass(frozen=True, kw_only=True)
class _Dialect:
    separator: str
    decimal: str
    skipped: int
    """Lines before that of the names."""
    encoding: str
    names: tuple[str, ...]
    """Names of the columns as they are written."""


def read_csv(file: Path) -> pa.Table:
    """Read a table of a checked file."""
    with foreign(file, "CSV table"):
        dialect = _dialect(file)
        texts = {name: pa.string() for name in dialect.names if _plain(name) == EPISODE}
        table = pc.read_csv(
            file,
            read_options=pc.ReadOptions(skip_rows=dialect.skipped, encoding=dialect.encoding),
            parse_options=pc.ParseOptions(delimiter=dialect.separator),
            convert_options=pc.ConvertOptions(column_types=texts, decimal_point=dialect.decimal),
        )
        try:
            names = table.column_names
        except UnicodeDecodeError as error:
            raise UserError(f"{file}: a name of a column is not UTF-8; save it as UTF-8") from error
    table = table.rename_columns([_plain(name) for name in names])
    require_distinct(table.column_names, file=file)
    for field in table.schema:
        if pa.types.is_binary(field.type):
            raise UserError(f"{file}: {plain_text(field.name)} is not UTF-8; save it as UTF-8")
    return table


def _plain(name: str) -> str:
    """Return a name without what is around it; `Episode` and `Task` in lower case."""
    stripped = name.strip("#\"' \t")
    return stripped.lower() if stripped.lower() in _LOWERED else stripped


def _dialect(file: Path) -> _Dialect:
    """Look at the first lines of a table."""
    with file.open("rb") as opened:
        head = opened.read(_HEAD)
    encoding = _WIDE.get(head[:2], "utf-8")
    lines = head.decode(encoding, errors="replace").removeprefix("\ufeff").splitlines()
    separator = None
    if lines and lines[0].lower().startswith("sep=") and len(lines[0]) > len("sep="):
        separator = lines[0][len("sep=")]  # as Excel has it
    skipped = 1 if separator else 0
    while len(lines) > skipped + 1 and _is_comment(lines[skipped:]):
        skipped += 1
    header = lines[skipped] if len(lines) > skipped else ""
    if separator is None:
        separator = max(_SEPARATORS, key=header.count)
    rows = list(csv.reader(StringIO("\n".join(lines[skipped:-1])), delimiter=separator))
    cells = [cell for row in rows[1:] for cell in row]
    decimal = "," if any(_DECIMAL_COMMA.fullmatch(cell) for cell in cells) else "."
    names = next(csv.reader([header], delimiter=separator), [])
    return _Dialect(
        separator=separator,
        decimal=decimal,
        skipped=skipped,
        encoding=encoding,
        names=tuple(names),
    )


def _is_comment(lines: Sequence[str]) -> bool:
    """Return whether the first of some lines is empty or a remark; names may begin with `#` too."""
    first, following = lines[0], lines[1]
    if not first.strip():
        return True
    return first.startswith("#") and not any(
        first.count(one) == following.count(one) > 0 for one in _SEPARATORS
    )
