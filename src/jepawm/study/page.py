"""The page of a study: verdicts, one section for each axis, how it was reached, what it cost."""

from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape

from jepawm.report.charts import Chart, Series, chart_payload, render_chart, shown_text
from jepawm.report.page import whole_page
from jepawm.report.paper import PAPER_ARXIV, PLANNERS
from jepawm.study.axes import Axis
from jepawm.study.charts import Mark, interval_chart
from jepawm.study.claims import BEYOND
from jepawm.study.differences import Estimate
from jepawm.study.known_axes import AXES
from jepawm.study.rows import StudyRow
from jepawm.study.table_files import mean_errors, mean_of
from jepawm.study.tables import AxisTable, cost_seconds
from jepawm.study.verdicts import RULE, Verdict

_REFERENCES = {"do_nothing": "do nothing", "random": "random actions", "oracle": "oracle"}
_SIGNS = {"agrees": "✓ agrees", "disagrees": "✗ disagrees", "cannot tell": "? cannot tell"}
_CLASSES = {"agrees": "reached", "disagrees": "missed", "cannot tell": ""}
_MARKS = "*†‡§¶"


def render_study(
    rows: Sequence[StudyRow], tables: Sequence[AxisTable], *, verdicts: Sequence[Verdict]
) -> str:
    """Return the page as HTML."""
    marks = version_marks(rows)
    by_axis: dict[str, list[AxisTable]] = {}
    for table in tables:
        by_axis.setdefault(table.axis, []).append(table)
    charts: list[Chart] = []
    sections = [
        _axis_section(name, several, verdicts=verdicts, marks=marks, charts=charts)
        for name, several in by_axis.items()
    ]
    body = (
        f"{_header(rows, tables, verdicts)}{_navigation(by_axis)}{_verdicts(verdicts)}"
        f"{''.join(sections)}{_reading()}{_costs(rows, by_axis)}{_versions(rows, marks)}"
    )
    payload = {"charts": {chart.name: chart_payload(chart) for chart in charts}, "tasks": []}
    return whole_page("jepawm study", body, payload=payload)


def version_marks(rows: Sequence[StudyRow]) -> dict[str, str]:
    """Return a mark for each version but the commonest, by what is told of it."""
    counts = Counter(_version(row) for row in rows)
    others = [version for version, _ in counts.most_common()][1:]
    return {
        version: _MARKS[place] if place < len(_MARKS) else f"({place + 1})"
        for place, version in enumerate(others)
    }


def _version(row: StudyRow) -> str:
    return " ".join(f"{name} {value}" for name, value in sorted(row.measured.versions.items()))


def _header(
    rows: Sequence[StudyRow], tables: Sequence[AxisTable], verdicts: Sequence[Verdict]
) -> str:
    words = Counter(verdict.word for verdict in verdicts)
    tiles = (
        ("Agrees", str(words["agrees"]), f"of {len(verdicts)} claims"),
        ("Disagrees", str(words["disagrees"]), "whichever way it came out"),
        ("Cannot tell", str(words["cannot tell"]), "too few rows, or none"),
        (
            "Runs",
            str(sum(row.is_model for row in rows)),
            f"of {len({t.axis for t in tables})} axes",
        ),
        ("Cost", f"{cost_seconds(rows) / 3600:.1f} h", "of training and evaluation"),
    )
    cells = "".join(
        f"<li><span>{name}</span><strong>{value}</strong><span>{note}</span></li>"
        for name, value, note in tiles
    )
    return (
        "<header><p class='eyebrow'>jepawm study</p><h1>What drives success?</h1>"
        f"<p>The design choices of arXiv {PAPER_ARXIV}, one at a time, on small models that anyone can "
        "train. Paper and study have other encoders, sizes and data: read differences, not levels.</p>"
        f"<ul class='tiles'>{cells}</ul></header>"
    )


def _navigation(axes: Mapping[str, object]) -> str:
    links = "".join(f"<a href='#axis-{_slug(name)}'>{_shown(name)}</a>" for name in axes)
    return (
        f"<nav aria-label='Sections'><a href='#verdicts'>Verdicts</a>{links}"
        "<a href='#reading'>How to read this</a><a href='#costs'>Costs</a></nav>"
    )


def _verdicts(verdicts: Sequence[Verdict]) -> str:
    lines = "".join(_verdict_line(verdict) for verdict in verdicts)
    beyond = "".join(
        f"<li>{escape(one.says)} <small>Cannot tell here: {escape(one.why)}. "
        f"<code>{escape(one.command)}</code></small></li>"
        for one in BEYOND
    )
    return (
        "<section id='verdicts' aria-labelledby='verdicts-h'><h2 id='verdicts-h'>Verdicts</h2>"
        "<p class='note'>Differences of success in points, with 95 % intervals; the paper's difference "
        "where it gives one.</p>"
        "<div class='scroll'><table><thead><tr><th scope='col'>The paper says</th>"
        "<th scope='col'>Here</th><th scope='col'>Verdict</th></tr></thead>"
        f"<tbody>{lines}</tbody></table></div><h3>Beyond this study</h3><ul>{beyond}</ul></section>"
    )


def _verdict_line(verdict: Verdict) -> str:
    claim = verdict.claim
    found = "<br>".join(
        f"{_shown(one.table.recipe)}, {_shown(one.table.env)}: "
        f"<span class='num'>{_points(one.difference)}</span>"
        + ("" if one.paper is None else f" <small>paper {100 * one.paper:+.1f}</small>")
        for one in verdict.findings
    )
    note = f"<small>{escape(verdict.why)}</small>" if verdict.why else ""
    figure = f" {escape(claim.figure)}." if claim.figure else ""
    return (
        f"<tr class='{_CLASSES[verdict.word]}'><th scope='row'>{escape(claim.says)}{figure}"
        f"<small>{escape(claim.axis)}: {escape(claim.first)} against {escape(claim.second)}</small></th>"
        f"<td>{found or f'<code>{escape(claim.command)}</code>'}</td>"
        f"<td class='outcome'>{_SIGNS[verdict.word]}{note}</td></tr>"
    )


def _axis_section(
    name: str,
    tables: Sequence[AxisTable],
    *,
    verdicts: Sequence[Verdict],
    marks: Mapping[str, str],
    charts: list[Chart],
) -> str:
    axis = next((one for one in AXES if one.name == name), None)
    parts = [_table(table, axis, marks=marks, charts=charts) for table in tables]
    claims = [verdict for verdict in verdicts if verdict.claim.axis == name and verdict.findings]
    said = "".join(
        f"<li class='{_CLASSES[one.word]}'>{escape(one.claim.says)} "
        f"<strong class='outcome'>{_SIGNS[one.word]}</strong></li>"
        for one in claims
    )
    slug = f"axis-{_slug(name)}"
    fields = "" if axis is None else ", ".join(f"<code>{one}</code>" for one in axis.fields)
    question = "" if axis is None else f"<p>{escape(axis.question)} {fields}</p>"
    return (
        f"<section id='{slug}' aria-labelledby='{slug}-h'><h2 id='{slug}-h'>{_shown(name)}</h2>"
        f"{question}{f'<ul>{said}</ul>' if said else ''}{''.join(parts)}</section>"
    )


def _table(
    table: AxisTable, axis: Axis | None, *, marks: Mapping[str, str], charts: list[Chart]
) -> str:
    figure = interval_chart(_level_marks(table, marks), title=f"Success, {shown_text(table.title)}")
    paper = table.axis == "planner_cost"
    legend = (
        "<ul class='legend'><li><span class='swatch tone0'></span>here, 95 % interval over seeds and "
        "tasks</li>"
        + ("<li><span class='swatch tone1'></span>◇ paper</li>" if paper else "")
        + "<li><span class='swatch tone7'></span>without a model</li></ul>"
    )
    errors = _error_chart(table, number=len(charts)) if axis is None or axis.trains else None
    if errors is not None:
        charts.append(errors)
    note = ""
    if table.replaced:
        note = (
            f"<p class='note'>{table.replaced} rows were measured again with another configuration; "
            "the last ones count.</p>"
        )
    drawn = "" if errors is None else render_chart(errors)
    return (
        f"<h3>{_shown(table.title)}</h3><div class='charts'><div>{figure}{legend}</div>{drawn}</div>"
        f"{note}{_figures(table, marks)}"
    )


def _level_marks(table: AxisTable, marks: Mapping[str, str]) -> list[Mark]:
    found = []
    for value in table.values:
        level = table.level(value)
        if level is not None:
            own = " (recipe)" if value == table.own else ""
            paper = PLANNERS.get(value, {}).get(table.env) if table.axis == "planner_cost" else None
            found.append(
                Mark(
                    label=f"{shown_text(value)}{own}{_mark_of(table.of(value), marks)}",
                    value=level.mean,
                    interval=level.ci95,
                    paper=paper,
                )
            )
    for row in table.references:
        one = row.measured
        label = shown_text(_REFERENCES.get(one.row, one.row)) + _mark_of([row], marks)
        found.append(Mark(label=label, value=one.success, interval=one.ci95, tone=7))
    return found


def _mark_of(rows: Sequence[StudyRow], marks: Mapping[str, str]) -> str:
    """Return the marks of the versions that made some rows."""
    found = dict.fromkeys(marks[_version(row)] for row in rows if _version(row) in marks)
    return f" {''.join(found)}" if found else ""


def _error_chart(table: AxisTable, *, number: int) -> Chart | None:
    series = []
    for place, value in enumerate(table.values):
        errors = mean_errors(table.of(value))
        if errors:
            xs = [float(k) for k in range(1, len(errors) + 1)]
            series.append(Series(label=shown_text(value), xs=xs, ys=errors, tone=place % 8))
    if not series:
        return None
    return Chart(
        name=f"chart-{number}",
        title="Latent error over copying",
        x_label="blocks ahead",
        caption="Squared error of the predicted latent over that of copying the last one seen, on "
        "validation data: below 1 the model knows more than that things stay as they are.",
        series=tuple(series),
        logarithmic=True,
    )


def _figures(table: AxisTable, marks: Mapping[str, str]) -> str:
    lines = "".join(_figure_line(table, value, marks=marks) for value in table.values)
    lines += "".join(
        f"<tr><th scope='row'>{_shown(_REFERENCES.get(one.row, one.row))}</th>"
        f"<td class='num'>{100 * one.success:.1f}</td><td></td><td></td>"
        f"<td class='num'>{_number(one.measures.final_distance)}</td>"
        f"<td class='num'>{_number(one.measures.blocks_to_success)}</td><td></td><td></td></tr>"
        for one in (row.measured for row in table.references)
    )
    return (
        "<div class='scroll'><table><thead><tr><th scope='col'>Value</th><th scope='col'>Success</th>"
        f"<th scope='col'>Minus {_shown(table.own)}</th><th scope='col'>Smallest effect</th>"
        "<th scope='col'>Final distance</th><th scope='col'>Blocks to success</th>"
        "<th scope='col'>Rank</th><th scope='col'>Seeds</th></tr></thead>"
        f"<tbody>{lines}</tbody></table></div>"
    )


def _figure_line(table: AxisTable, value: str, *, marks: Mapping[str, str]) -> str:
    rows = table.of(value)
    level = table.level(value)
    against = None if value == table.own else table.compare(value, table.own)
    strong = " class='model'" if value == table.own else ""
    return (
        f"<tr{strong}><th scope='row'>{_shown(value)}{_mark_of(rows, marks)}</th>"
        f"<td class='num'>{'' if level is None else f'{100 * level.mean:.1f}'}</td>"
        f"<td class='num'>{'' if against is None else _points(against)}</td>"
        f"<td class='num'>{'' if against is None else f'{100 * against.smallest:.1f}'}</td>"
        f"<td class='num'>{_number(mean_of(rows, 'final_distance'))}</td>"
        f"<td class='num'>{_number(mean_of(rows, 'blocks_to_success'))}</td>"
        f"<td class='num'>{_number(mean_of(rows, 'effective_rank'))}</td>"
        f"<td class='num'>{len(rows)}</td></tr>"
    )


def _reading() -> str:
    return (
        "<section id='reading' aria-labelledby='reading-h'><h2 id='reading-h'>How to read this</h2>"
        f"<p>{escape(RULE)}</p><dl class='reading'>"
        "<dt>Final distance</dt><dd>Distance to the goal after the last step, in units of the state. It "
        "still differs where success is full or none.</dd>"
        "<dt>Blocks to success</dt><dd>Action blocks until the goal holds for the first time; a task that "
        "never gets there counts one more than the episode has.</dd>"
        "<dt>Rank</dt><dd>Effective rank of the latents: how many directions they use.</dd>"
        "<dt>Smallest effect</dt><dd>Difference in points that a sample like this shows in four of five "
        "cases.</dd></dl></section>"
    )


def _costs(rows: Sequence[StudyRow], axes: Mapping[str, object]) -> str:
    lines = "".join(
        f"<tr><th scope='row'>{_shown(name)}</th><td class='num'>{len(own)}</td>"
        f"<td class='num'>{cost_seconds(own) / 60:.1f}</td></tr>"
        for name in axes
        if (own := [row for row in rows if row.axis == name])
    )
    total = cost_seconds(rows) / 60
    return (
        "<section id='costs' aria-labelledby='costs-h'><h2 id='costs-h'>Costs</h2>"
        "<p class='note'>Minutes of training and evaluation, each model and each evaluation counted once; "
        "axes share the recipe's own model, so the sum is below that of the lines.</p>"
        "<div class='scroll'><table><thead><tr><th scope='col'>Axis</th><th scope='col'>Rows</th>"
        f"<th scope='col'>Minutes</th></tr></thead><tbody>{lines}<tr class='model'>"
        f"<th scope='row'>together</th><td class='num'>{len(rows)}</td>"
        f"<td class='num'>{total:.1f}</td></tr></tbody></table></div></section>"
    )


def _versions(rows: Sequence[StudyRow], marks: Mapping[str, str]) -> str:
    counts = Counter(_version(row) for row in rows)
    items = "".join(
        f"<li>{marks.get(version, 'unmarked')}: {_shown(version)} ({count} rows)</li>"
        for version, count in counts.most_common()
    )
    note = "" if not marks else "<p>Rows of other versions than the commonest carry a mark.</p>"
    commits = Counter((row.measured.commit or "unknown")[:10] for row in rows)
    told = ", ".join(f"{_shown(commit)} ({count})" for commit, count in commits.most_common())
    return (
        "<section id='versions' aria-labelledby='versions-h'><h2 id='versions-h'>Versions</h2>"
        f"{note}<ul>{items}</ul><p>Commits, with their rows: {told}</p></section>"
    )


def _points(found: Estimate) -> str:
    low, high = found.ci95
    return f"{100 * found.mean:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


def _shown(text: str) -> str:
    return escape(shown_text(text))


def _slug(text: str) -> str:
    return "".join(one if one.isascii() and one.isalnum() else "-" for one in text)
