"""Tables of a study as CSV, LaTeX and Markdown."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

from jepawm.study.axes import Axis
from jepawm.study.differences import Estimate
from jepawm.study.rows import StudyRow
from jepawm.study.tables import AxisTable
from jepawm.study.verdicts import Verdict

_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
}


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A table of texts."""

    head: tuple[str, ...]
    """Names of the columns."""
    lines: tuple[tuple[str, ...], ...]
    """Cells, line by line."""


def axis_grid(tables: Sequence[AxisTable]) -> Grid:
    """Return a line for each value of each table of an axis, and for each agent without a model."""
    head = (
        "recipe",
        "environment",
        "protocol",
        "value",
        "seeds",
        "tasks",
        "success",
        "ci95 low",
        "ci95 high",
        "minus",
        "difference",
        "difference ci95 low",
        "difference ci95 high",
        "smallest effect",
        "final distance",
        "blocks to success",
        "error over copying k1",
        "error over copying last",
        "effective rank",
        "parameters",
        "training seconds",
    )
    lines = [line for table in tables for line in _axis_lines(table)]
    return Grid(head=head, lines=tuple(lines))


def verdict_grid(verdicts: Sequence[Verdict]) -> Grid:
    """Return a line for each claim and recipe."""
    head = (
        "claim",
        "first",
        "second",
        "recipe",
        "environment",
        "difference",
        "ci95 low",
        "ci95 high",
        "smallest effect",
        "paper",
        "says",
        "verdict",
    )
    lines: list[tuple[str, ...]] = []
    for one in verdicts:
        claim = one.claim
        start = (claim.says, claim.first, claim.second)
        lines += [
            (
                *start,
                finding.table.recipe,
                finding.table.env,
                *_points(finding.difference),
                "" if finding.paper is None else f"{100 * finding.paper:.1f}",
                finding.word,
                one.word,
            )
            for finding in one.findings
        ] or [(*start, *[""] * 8, one.word)]
    return Grid(head=head, lines=tuple(lines))


def to_csv(grid: Grid) -> str:
    """Return a table as comma-separated values."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(grid.head)
    writer.writerows(grid.lines)
    return stream.getvalue()


def to_latex(grid: Grid, *, columns: Sequence[str]) -> str:
    """Return some columns of a table as LaTeX, for the package booktabs."""
    places = [grid.head.index(name) for name in columns]
    rows = [" & ".join(_escaped(line[place]) for place in places) for line in grid.lines]
    head = " & ".join(_escaped(name) for name in columns)
    return "\n".join(
        [
            f"\\begin{{tabular}}{{{'l' * len(columns)}}}",
            r"\toprule",
            rf"{head} \\",
            r"\midrule",
            *(rf"{row} \\" for row in rows),
            r"\bottomrule",
            r"\end{tabular}",
            "",
        ]
    )


def verdicts_markdown(verdicts: Sequence[Verdict]) -> str:
    """Return the verdicts as docs/study.md shows them."""
    head = [
        "| the paper says | command | here, in points | paper | verdict |",
        "|---|---|---|---|---|",
    ]
    lines = []
    for one in verdicts:
        claim = one.claim
        found = "<br>".join(
            f"{finding.table.recipe}: {signed_points(finding.difference)}"
            for finding in one.findings
        )
        paper = "<br>".join(
            "" if finding.paper is None else f"{100 * finding.paper:+.1f}"
            for finding in one.findings
        )
        why = f" ({one.why})" if one.why else ""
        says = f"{claim.says} {claim.figure}".strip()
        lines.append(
            f"| {says} | `{claim.command}` | {found or 'no rows yet'} | {paper.replace('<br>', ' ').strip() or 'not given'} | "
            f"{one.word}{why} |"
        )
    return "\n".join([*head, *lines]) + "\n"


def axes_markdown(axes: Sequence[Axis]) -> str:
    """Return the axes as docs/study.md shows them; values that run by themselves come first."""
    lines = []
    for axis in axes:
        default = [value.name for value in axis.chosen(())]
        more = [value.name for value in axis.values if value.name not in default]
        values = ", ".join(f"`{name}`" for name in default)
        if more:
            values += (
                f"; also {', '.join(f'`{name}`' for name in more)}"
                if len(more) < 9
                else (f"; also the other {len(more)} pairs")
            )
        fields = ", ".join(f"`{field}`" for field in axis.fields)
        models = "for each value" if axis.trains else "the recipe's"
        lines.append(f"| `{axis.name}` | {axis.question} | {fields} | {values} | {models} |")
    head = ["| axis | question | field | values | models |", "|---|---|---|---|---|"]
    return "\n".join([*head, *lines]) + "\n"


def mean_of(rows: Sequence[StudyRow], name: str) -> float | None:
    """Return the mean over rows of a measure; None where one lacks it."""
    found = [getattr(row.measured.measures, name) for row in rows]
    return None if None in found or not found else sum(found) / len(found)


def mean_errors(rows: Sequence[StudyRow]) -> list[float]:
    """Return the mean over rows of the latent error over copying, by blocks ahead."""
    found = [row.measured.measures.error_over_copying for row in rows]
    length = min((len(one) for one in found), default=0)
    return [sum(one[k] for one in found) / len(found) for k in range(length)]


def _axis_lines(table: AxisTable) -> list[tuple[str, ...]]:
    lines = []
    for value in table.values:
        rows = table.of(value)
        level = table.level(value)
        against = None if value == table.own else table.compare(value, table.own)
        errors = mean_errors(rows)
        lines.append(
            (
                table.recipe,
                table.env,
                table.protocol,
                value,
                str(len(rows)),
                str(rows[0].measured.episodes),
                *(("", "", "") if level is None else _points(level)[:3]),
                "" if against is None else table.own,
                *(("", "", "", "") if against is None else _points(against)),
                _number(mean_of(rows, "final_distance")),
                _number(mean_of(rows, "blocks_to_success")),
                _number(errors[0] if errors else None),
                _number(errors[-1] if errors else None),
                _number(mean_of(rows, "effective_rank")),
                str(rows[0].measured.parameters),
                _number(sum(row.measured.training_seconds for row in rows) / len(rows)),
            )
        )
    for row in table.references:
        one = row.measured
        ends = tuple(f"{100 * number:.1f}" for number in (one.success, *one.ci95))
        measures = (_number(one.measures.final_distance), _number(one.measures.blocks_to_success))
        start = (table.recipe, table.env, table.protocol, one.row, "1", str(one.episodes))
        lines.append((*start, *ends, *[""] * 5, *measures, *[""] * 5))
    return lines


def _points(found: Estimate) -> tuple[str, str, str, str]:
    numbers = (found.mean, *found.ci95, found.smallest)
    first, low, high, smallest = (f"{100 * number:.1f}" for number in numbers)
    return first, low, high, smallest


def signed_points(found: Estimate) -> str:
    """Return an estimate and its interval in points, with signs."""
    low, high = found.ci95
    return f"{100 * found.mean:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _escaped(text: str) -> str:
    return "".join(_LATEX.get(one, one) for one in text)
