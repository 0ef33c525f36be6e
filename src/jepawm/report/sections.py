"""The sections of the report, each from one file of the run directory."""

import json
from collections.abc import Mapping, Sequence
from html import escape
from math import isfinite

from jepawm.evaluation.results import MODEL, NO_ORACLE, Results, Row, row_text
from jepawm.evaluation.rollouts import Rollouts
from jepawm.metrics_log import METRICS, Metric, find_gaps, find_metric
from jepawm.report.charts import Chart, Series, is_drawable, render_chart, shown_text, thin
from jepawm.report.inputs import RunFiles
from jepawm.report.paper import PAPER_ARXIV, PaperNumber, paper_row

UNKNOWN_METRIC = "Not logged by this version; docs/report.md lists the keys that it logs."
MAX_CHARTS, MAX_SERIES = 200, 64
"""Charts of metrics, and curves of one, that a page shows at most."""
_ORDER = ("oracle", "random", "do_nothing")
"""Rows of every evaluation below the model's, best first; rows of one's own stand between."""


def header(run: RunFiles) -> str:
    """Return title, provenance and the figures to see first."""
    experiment = run.experiment or {}
    results = run.results
    name = str(experiment.get("recipe") or (results.env if results else run.folder.name))
    facts = {"Recipe": experiment.get("recipe"), "Seed": experiment.get("seed")}
    if results is not None:
        facts |= {"Protocol": results.protocol, "Tasks": results.num_tasks}
    versions = experiment.get("versions") or (results.versions if results else None)
    if isinstance(versions, Mapping):
        facts |= {str(key): value for key, value in sorted(versions.items())}
    facts["Commit"] = experiment.get("commit")
    items = "".join(
        f"<div><dt>{_escaped(key)}</dt><dd>{_escaped(_known(value))}</dd></div>"
        for key, value in facts.items()
    )
    missing = ""
    if run.experiment is None:
        missing = absent("experiment.json", "jepawm train RECIPE --out RUN")
    else:
        text = escape(json.dumps(run.experiment, indent=2))
        missing = f"<details><summary>Whole configuration</summary><pre>{text}</pre></details>"
    return (
        f"<header><p class='eyebrow'>jepawm run report</p><h1>{_escaped(name)}</h1>"
        f"{_tiles(run)}<dl class='facts'>{items}</dl>{missing}</header>"
    )


def success_section(results: Results | None) -> str:
    """Return the success table: model, baselines and the paper, with intervals."""
    if results is None:
        return section(
            "success", "Success", body=absent("results.json", "jepawm eval RUN --out RUN")
        )
    rows = [_success_row(MODEL, results.model, tone=0)]
    own = [name for name in results.baselines if name not in _ORDER]
    rows += [
        _success_row(name, results.rows[name], tone=7)
        for name in (*own, *_ORDER)
        if name in results.rows
    ]
    paper = paper_row(results.env)
    note = "The paper has no number for this environment."
    if paper is not None:
        for model, number in (("JEPA-WM", paper.jepa_wm), ("DINO-WM", paper.dino_wm)):
            rows.append(_paper_row(model, number, episodes=paper.num_episodes))
        same = results.protocol == "paper"
        note = f"Paper: arXiv {PAPER_ARXIV}, table 1, {paper.measure}. " + (
            "Same protocol as here."
            if same
            else f"Its protocol is `paper`; this run used `{results.protocol}`, so the rows of the "
            "paper are not directly comparable."
        )
    body = (
        f"<p>{results.num_tasks} tasks, the same for every row; protocol "
        f"<code>{_escaped(results.protocol)}</code>; success is read {_when(results)}. "
        f"Brackets are 95 % Wilson intervals.{_no_oracle(results)}</p><div class='scroll'><table class='success'><thead>"
        "<tr><th scope='col'>Row</th><th scope='col'>Success</th><th scope='col'>Interval</th>"
        f"<th scope='col' class='wide'>0 to 100 %</th></tr></thead><tbody>{''.join(rows)}"
        f"</tbody></table></div><p class='note'>{_escaped(note)} ± of the paper is a standard "
        f"deviation over epochs and seeds, not an interval.</p>{_motion_table(results)}"
    )
    return section("success", "Success", body=body)


def _motion_table(results: Results) -> str:
    """Return how soon, how far and how smoothly each row went; empty where the file does not say."""
    order = (MODEL, *(name for name in results.baselines if name not in _ORDER), *_ORDER)
    lines = []
    for name in order:
        motion = results.rows[name].motion if name in results.rows else None
        if motion is None:
            continue
        numbers = (
            motion.steps_to_success,
            motion.path_length,
            motion.path_over_oracle,
            motion.action_change,
        )
        cells = "".join(
            f"<td class='num'>{'' if number is None else f'{number:.3g}'}</td>"
            for number in numbers
        )
        lines.append(f"<tr><th scope='row'>{_escaped(row_text(name).heading)}</th>{cells}</tr>")
    if not lines:
        return ""
    return (
        "<div class='scroll'><table class='motion'><thead><tr><th scope='col'>Row</th>"
        "<th scope='col'>Steps to success</th><th scope='col'>Way</th>"
        "<th scope='col'>Way over the oracle's</th><th scope='col'>Change of actions</th></tr>"
        f"</thead><tbody>{''.join(lines)}</tbody></table></div><p class='note'>Steps until the goal "
        "holds first, of episodes in which it ever does; ways of episodes that succeed, compared on "
        "tasks that both solve; root mean square of the change from action to action.</p>"
    )


def curves_section(metrics: Sequence[Mapping[str, int | float]] | None) -> tuple[str, list[Chart]]:
    """Return the curves of every logged key and the charts behind them."""
    title = "Training curves"
    if not metrics:
        return section(
            "curves", title, body=absent("metrics.jsonl", "jepawm train RECIPE --out RUN")
        ), []
    groups = _metric_groups(metrics)
    charts: list[Chart] = []
    for group, members in groups.items():
        chart = _metric_chart(f"chart-{len(charts)}", group, members, metrics=metrics)
        if chart is not None and len(charts) < MAX_CHARTS:
            charts.append(chart)
    left_out = sum(bool(members) for members in groups.values()) - len(charts)
    note = f"<p class='note'>{left_out} metrics cannot be drawn.</p>" if left_out else ""
    validated = [row for row in metrics if any(key.startswith("val/") for key in row)]
    gaps = find_gaps(validated[-1]) if validated else []
    note += "".join(f"<p class='absent'>At the end, {_escaped(gap)}.</p>" for gap in gaps)
    body = f"<div class='charts'>{''.join(render_chart(chart) for chart in charts)}</div>{note}"
    return section("curves", title, body=body), charts


def _metric_groups(metrics: Sequence[Mapping[str, int | float]]) -> dict[str, list[str]]:
    """Return the logged keys of each metric, in the order of `METRICS`, then unknown keys by name."""
    keys = sorted({key for row in metrics for key in row} - {"step", "seconds"}, key=_natural)
    groups: dict[str, list[str]] = {metric.key: [] for metric in METRICS}
    for key in keys:
        metric = find_metric(key)
        groups.setdefault(key if metric is None else metric.key, []).append(key)
    return groups


def _metric_chart(
    name: str, group: str, members: Sequence[str], *, metrics: Sequence[Mapping[str, int | float]]
) -> Chart | None:
    """Return the chart of one metric; None if it has no value that can be drawn."""
    series = [
        _series(metrics, key, tone=i, alone=len(members) == 1)
        for i, key in enumerate(members[:MAX_SERIES])
    ]
    shown = tuple(one for one in series if len(one.xs))
    if not shown:
        return None
    known = find_metric(group)
    caption = _caption(known) if known else UNKNOWN_METRIC
    values = [row[key] for row in metrics for key in members if key in row]
    infinite = sum(not isfinite(value) for value in values if isinstance(value, float))
    beyond = sum(not is_drawable(value) for value in values) - infinite
    hidden = len(members) - len(shown)
    if infinite:
        caption += f" {infinite} values are not finite and not drawn."
    if beyond:
        caption += f" {beyond} values are too large or too small for an axis and not drawn."
    if hidden:
        caption += f" {hidden} of {len(members)} curves are not drawn."
    return Chart(
        name=name,
        title=known.title if known else shown_text(group),
        key=group if known else "",
        x_label="step",
        caption=caption,
        series=shown,
        logarithmic=known is not None and known.logarithmic,
    )


def _caption(metric: Metric) -> str:
    """Return what a metric means and how to read it, in sentences."""
    unit = f" ({metric.unit})" if metric.unit else ""
    sentences = [metric.meaning + unit, f"Good: {metric.good}"]
    if metric.suspicious:
        sentences.append(f"Suspicious: {metric.suspicious}")
    return " ".join(f"{one[0].upper()}{one[1:]}." for one in sentences).replace("`", "")


def cost_section(rollouts: Rollouts | None) -> tuple[str, list[Chart]]:
    """Return the chart of the planner's cost per iteration."""
    title = "Cost per planner iteration"
    if rollouts is None:
        return section("cost", title, body=absent("rollouts.npz", "jepawm eval RUN --out RUN")), []
    iterations = [float(i + 1) for i in range(len(rollouts.cost_history))]
    outcome = {True: (0, "reached the goal"), False: (1, "missed the goal")}
    series = [
        Series(
            label=f"task {task + 1}, {outcome[bool(ok)][1]}",
            xs=iterations,
            ys=[float(cost) for cost in rollouts.cost_history[:, task]],
            tone=outcome[bool(ok)][0],
            bold=False,
        )
        for task, ok in enumerate(rollouts.success)
    ]
    chart = Chart(
        name="chart-cost",
        title="Lowest cost among the candidates of each iteration (first plan)",
        x_label="planner iteration",
        legend=tuple((tone, words) for tone, words in outcome.values()),
        caption="Each line is one task. A curve that is "
        "flat at the end has converged. A missed goal with a low cost means that the model was "
        "wrong; with a high cost, that the search or the horizon was too short.",
        series=tuple(one for one in map(thin, series) if len(one.xs)),
        logarithmic=True,
    )
    if not chart.series:
        return section("cost", title, body="<p class='note'>No finite costs were recorded.</p>"), []
    return section("cost", title, body=f"<div class='charts one'>{render_chart(chart)}</div>"), [
        chart
    ]


def absent(name: str, command: str) -> str:
    """Say which command writes a file that the run directory does not have."""
    return (
        f"<p class='absent'><code>{escape(name)}</code> is not in this run directory. "
        f"<code>{escape(command)}</code> writes it; then make the report again.</p>"
    )


def section(name: str, title: str, *, body: str) -> str:
    """Return a section of the page: its identifier, its heading and its content."""
    return f"<section id='{name}' aria-labelledby='{name}-h'><h2 id='{name}-h'>{title}</h2>{body}</section>"


def _when(results: Results) -> str:
    settings = results.protocol_settings
    anytime = settings is not None and settings.success == "any"
    return "at any time of an episode" if anytime else "at the end of an episode"


def _no_oracle(results: Results) -> str:
    if "oracle" in results.rows:
        return ""
    return f" {NO_ORACLE}"


def _escaped(text: str) -> str:
    """Return a text of a file as HTML that shows it as it is."""
    return escape(shown_text(text))


def _known(value: object) -> str:
    return "not recorded" if value is None else str(value)


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def _tiles(run: RunFiles) -> str:
    tiles: list[tuple[str, str, str]] = []
    if run.results is not None:
        interval = run.results.model.interval
        note = f"{_span(interval)}, {run.results.num_tasks} tasks"
        tiles.append(("Success", _percent(run.results.model.success), note))
        searched = run.results.searched_plans
        note = f"per plan; {searched:,} of the plans searched" if searched else "per plan"
        tiles.append(("Planning time", f"{run.results.seconds_per_plan:.3g} s", note))
    if run.metrics:
        last = run.metrics[-1]
        seconds = last.get("seconds")
        note = ""
        if seconds is not None and is_drawable(seconds):
            note = f"in {seconds / 60:.1f} minutes"
        tiles.append(("Training", f"{last['step']:,} steps", note))
    cells = "".join(
        f"<li><span>{name}</span><strong>{escape(value)}</strong><span>{escape(note)}</span></li>"
        for name, value, note in tiles
    )
    return f"<ul class='tiles'>{cells}</ul>" if cells else ""


def _span(interval: tuple[float, float] | None) -> str:
    if interval is None:
        return "not recorded"
    return f"[{100 * interval[0]:.1f}, {100 * interval[1]:.1f}]"


def _success_row(name: str, row: Row, *, tone: int) -> str:
    text = row_text(name)
    strong = " class='model'" if tone == 0 else ""
    return (
        f"<tr{strong}><th scope='row'>{_escaped(text.heading)}<small>{_escaped(text.note)}</small></th>"
        f"<td class='num'>{_percent(row.success)}</td><td class='num'>{_span(row.interval)}</td>"
        f"<td>{_bar(row.success, row.interval, tone=tone)}</td></tr>"
    )


def _paper_row(model: str, number: PaperNumber, *, episodes: int) -> str:
    spread = (max(0.0, number.success - number.std), min(1.0, number.success + number.std))
    return (
        f"<tr class='paper'><th scope='row'>Paper: {model}<small>{episodes} tasks per evaluation"
        f"</small></th><td class='num'>{_percent(number.success)}</td>"
        f"<td class='num'>± {100 * number.std:.1f}</td>"
        f"<td>{_bar(number.success, spread, tone=2)}</td></tr>"
    )


def _bar(value: float, interval: tuple[float, float] | None, *, tone: int) -> str:
    low, high = interval or (value, value)
    return (
        f"<svg class='bar tone{tone}' viewBox='0 0 208 20' aria-hidden='true'>"
        "<line class='track' x1='4' x2='204' y1='10' y2='10'></line>"
        f"<line class='whisker' x1='{4 + 200 * low:.1f}' x2='{4 + 200 * high:.1f}' y1='10' y2='10'>"
        f"</line><circle cx='{4 + 200 * value:.1f}' cy='10' r='4'></circle></svg>"
    )


def _series(
    metrics: Sequence[Mapping[str, int | float]], key: str, *, tone: int, alone: bool
) -> Series:
    points = [(row["step"], row[key]) for row in metrics if key in row]
    drawn = [(float(x), float(y)) for x, y in points if is_drawable(x) and is_drawable(y)]
    label = key if alone else key.rpartition("_")[2].replace("k", "k = ")
    xs, ys = [x for x, _ in drawn], [y for _, y in drawn]
    return thin(Series(label=shown_text(label), xs=xs, ys=ys, tone=tone % 8))


def _natural(key: str) -> tuple[str, int]:
    name, mark, number = key.rpartition("_k")
    return (name, int(number)) if mark and number.isdecimal() and len(number) < 10 else (key, 0)
