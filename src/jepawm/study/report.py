"""`jepawm study report`: one page and tables from files of rows."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jepawm.errors import UserError, plain_text
from jepawm.files import write_whole
from jepawm.study.page import render_study
from jepawm.study.rows import StudyRow, read_rows
from jepawm.study.table_files import axis_grid, to_csv, to_latex, verdict_grid
from jepawm.study.tables import AxisTable, axis_tables
from jepawm.study.verdicts import judge

_LOG = logging.getLogger(__name__)
_AXIS_COLUMNS = (
    "recipe",
    "value",
    "success",
    "ci95 low",
    "ci95 high",
    "difference",
    "final distance",
)
_CLAIM_COLUMNS = ("claim", "recipe", "difference", "ci95 low", "ci95 high", "paper", "verdict")


@dataclass(frozen=True, kw_only=True)
class WrittenStudy:
    """What a report of a study holds, and where it is."""

    page: Path
    """The page."""
    tables: tuple[Path, ...]
    """Tables in CSV and LaTeX."""
    rows: int
    """Rows that it read."""
    axes: int
    """Axes among them."""
    agrees: int
    """Claims that the rows agree with."""
    disagrees: int
    """Claims that they disagree with."""
    cannot_tell: int
    """Claims that they leave open."""


def write_study_report(files: Sequence[Path], out: Path) -> WrittenStudy:
    """Write `study.html`, and for each axis and for the verdicts a CSV and a LaTeX table."""
    rows = _read(files)
    tables = axis_tables(rows)
    verdicts = judge(tables)
    contents = {out / "study.html": render_study(rows, tables, verdicts=verdicts)}
    by_axis: dict[str, list[AxisTable]] = {}
    for table in tables:
        by_axis.setdefault(table.axis, []).append(table)
    for axis, several in by_axis.items():
        grid = axis_grid(several)
        contents[out / f"{axis}.csv"] = to_csv(grid)
        contents[out / f"{axis}.tex"] = to_latex(grid, columns=_AXIS_COLUMNS)
    grid = verdict_grid(verdicts)
    contents[out / "verdicts.csv"] = to_csv(grid)
    contents[out / "verdicts.tex"] = to_latex(grid, columns=_CLAIM_COLUMNS)
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is not a folder; choose another --out")
    out.mkdir(parents=True, exist_ok=True)
    for path, content in contents.items():
        write_whole(path, content)
    words = [verdict.word for verdict in verdicts]
    return WrittenStudy(
        page=out / "study.html",
        tables=tuple(contents)[1:],
        rows=len(rows),
        axes=len(by_axis),
        agrees=words.count("agrees"),
        disagrees=words.count("disagrees"),
        cannot_tell=words.count("cannot tell"),
    )


def _read(files: Sequence[Path]) -> list[StudyRow]:
    """Read all rows; one that stands in two files counts once."""
    found: dict[tuple[object, ...], StudyRow] = {}
    for file in files:
        if file.is_dir():
            raise UserError(f"{file} is a folder; name files of rows, as {file}/rows/window.jsonl")
        for row in read_rows(file):
            found[row.key] = row
    rows = list(found.values())
    if not any(row.is_model for row in rows):
        names = ", ".join(plain_text(str(file)) for file in files)
        raise UserError(f"{names}: no row of a model; make some with jepawm study run")
    told = {tuple(sorted(row.measured.versions.items())) for row in rows}
    if len(told) > 1:
        _LOG.warning("the rows were made by %d different versions; the page marks them", len(told))
    return rows
