"""The section of a diagnosis: drift, use of the actions, ranking of plans, landscapes, failures."""

import base64
import io
import math
from collections.abc import Sequence
from html import escape

import numpy as np
from jaxtyping import Float
from PIL import Image

from jepawm.diagnosis.candidates import Candidates
from jepawm.diagnosis.checkpoints import Checkpoints
from jepawm.diagnosis.drift import Drift
from jepawm.diagnosis.failures import Failures
from jepawm.diagnosis.landscape import Landscape
from jepawm.diagnosis.results import Diagnosis
from jepawm.evaluation.metrics import Difference
from jepawm.report.charts import Chart, Series, render_chart, shown_text, thin
from jepawm.report.sections import absent, section

MAX_LANDSCAPES = 12
"""Tasks whose landscape a page shows at most."""
_GROUP_NAMES = {
    "random": "Random: the first iteration",
    "middle": "The middle iteration",
    "elite": "Elites of the last iteration",
}
_SIDE = 200
_DARK, _LIGHT = (20, 40, 90), (250, 245, 225)
_WIDE = 30.0
"""Costs that span more than this factor are shown by their logarithm."""


def diagnosis_section(found: Diagnosis | None) -> tuple[str, list[Chart]]:
    """Return the section of a diagnosis, and the charts in it."""
    if found is None:
        nothing = absent("diagnosis.json", "jepawm diagnose RUN --out RUN")
        return section("diagnosis", "Diagnosis", body=nothing), []
    body, charts = _content(found)
    return section("diagnosis", "Diagnosis", body=body), charts


def _content(found: Diagnosis) -> tuple[str, list[Chart]]:
    charts: list[Chart] = []
    parts = [f"<p class='note'>{_who(found)}</p>"]
    if found.drift is not None:
        charts += drift_charts(found.drift)
    if found.actions:
        charts.append(_action_chart(found))
    if found.checkpoints is not None:
        charts += _checkpoint_charts(found.checkpoints)
    charts = [chart for chart in charts if chart.series]
    if found.latents is not None:
        parts.append(_latents(found))
    if charts:
        parts.append(f"<div class='charts'>{''.join(map(render_chart, charts))}</div>")
    if found.checkpoints is not None:
        parts.append(_correlations(found.checkpoints))
    if found.candidates is not None:
        parts.append(_candidates(found.candidates))
    if found.landscapes:
        parts.append(_landscapes(found.landscapes[:MAX_LANDSCAPES]))
    if found.failures is not None:
        parts.append(_failures(found.failures))
    missing = "".join(
        f"<li>{escape(shown_text(part))}: {escape(shown_text(reason))}</li>"
        for part, reason in found.left_out.items()
    )
    parts.append(f"<h3>Left out</h3><ul class='note'>{missing}</ul>" if missing else "")
    return "".join(parts), charts


def drift_charts(drift: Drift) -> list[Chart]:
    """Return one chart for each code: the open loop, copying, and what real observations do."""
    charts = []
    for code, curves in drift.curves.items():
        xs = [float(step.k) for step in curves[0].steps]
        series = [
            Series(
                label="copying the last real latent",
                xs=xs,
                ys=[step.copy for step in curves[0].steps],
                tone=7,
                bold=False,
            )
        ]
        series += [
            Series(
                label="open loop"
                if curve.every is None
                else f"a real observation every {_blocks(curve.every)}",
                xs=xs,
                ys=[step.model for step in curve.steps],
                tone=tone % 7,
            )
            for tone, curve in enumerate(curves)
        ]
        charts.append(
            Chart(
                name=f"chart-drift-{code}",
                title=f"Drift of predicted {code}",
                x_label="action blocks",
                caption=f"Squared error over the variance of the {code}, mean over "
                f"{drift.stretches} stretches of real experience; 1 is as bad as predicting the "
                "mean. In the open loop a prediction is fed its own predictions; a real observation "
                "every few blocks, as in replanning, starts it anew.",
                series=tuple(one for one in map(thin, series) if one.xs),
                logarithmic=True,
            )
        )
    return charts


def _who(found: Diagnosis) -> str:
    about = (
        f"{found.behaviour}; split {found.split}, seed {found.seed}; an action block is "
        f"{found.frameskip} environment steps"
    )
    return f"Experience: {escape(shown_text(about))}."


def _latents(found: Diagnosis) -> str:
    latents = found.latents
    assert latents is not None
    facts = {
        "Effective rank": f"{_number(latents.effective_rank)} of {latents.width}",
        "Standard deviation": _number(latents.std),
        "Variance between frames": f"{100 * latents.share_over_time:.0f} %",
        "Straightness of latents": _interval(latents.straightness),
        "Straightness of predictions": _interval(latents.predicted_straightness),
    }
    if found.drift is not None:
        facts["Better than copying for"] = _blocks(found.drift.steps_ahead_of_copying)
    items = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in facts.items())
    return f"<dl class='facts'>{items}</dl>"


def _action_chart(found: Diagnosis) -> Chart:
    xs = [float(step.k) for step in found.actions]
    series = (
        Series(label="the actions that were done", xs=xs, ys=[s.own for s in found.actions]),
        Series(
            label="the actions of another stretch",
            xs=xs,
            ys=[step.other for step in found.actions],
            tone=1,
        ),
    )
    return Chart(
        name="chart-actions",
        title="Do predictions heed the actions?",
        x_label="action blocks ahead",
        caption="Error of the same predictions under two sets of actions. Curves that lie together "
        "mean that the model ignores what is done.",
        series=tuple(one for one in map(thin, series) if one.xs),
        logarithmic=True,
    )


def _checkpoint_charts(found: Checkpoints) -> list[Chart]:
    steps = [float(one.step) for one in found.figures]
    shown = [k for k in (1, 2, len(found.correlations)) if k <= len(found.correlations)]
    errors = [
        Series(
            label=f"k = {k}", xs=steps, ys=[one.errors[k - 1] for one in found.figures], tone=tone
        )
        for tone, k in enumerate(dict.fromkeys(shown))
    ]
    success = Series(label="success", xs=steps, ys=[one.success for one in found.figures])
    return [
        Chart(
            name="chart-checkpoint-errors",
            title="Prediction error of the checkpoints",
            x_label="optimiser step",
            caption="Error of predictions k action blocks ahead, over the variance of the latents.",
            series=tuple(one for one in map(thin, errors) if one.xs),
            logarithmic=True,
        ),
        Chart(
            name="chart-checkpoint-success",
            title="Success of the checkpoints",
            x_label="optimiser step",
            caption=f"Success rate on the same {found.tasks} tasks, protocol "
            f"{shown_text(found.protocol)}.",
            series=(thin(success),) if steps else (),
        ),
    ]


def _correlations(found: Checkpoints) -> str:
    rows = "".join(
        f"<tr><th scope='row'>{one.k}</th><td class='num'>{_known(one.correlation)}</td>"
        f"<td class='num'>{_ends(one.ci95)}</td></tr>"
        for one in found.correlations
    )
    return (
        f"<h3>Error and success over {len(found.figures)} checkpoints</h3><div class='scroll'><table>"
        "<thead><tr><th scope='col'>Blocks ahead</th><th scope='col'>Rank correlation</th>"
        f"<th scope='col'>Interval</th></tr></thead><tbody>{rows}</tbody></table></div>"
        "<p class='note'>-1: the smaller the error, the more success.</p>"
    )


def _candidates(found: Candidates) -> str:
    rows = ""
    for name, group in found.groups.items():
        title = _GROUP_NAMES.get(name) or shown_text(name)
        between = group.correlation
        rows += (
            f"<tr><th scope='row'>{escape(title)}</th>"
            f"<td class='num'>{'unknown' if between is None else _interval(between)}</td>"
            f"<td class='num'>{_number(group.distance)}</td>"
            f"<td class='num'>{_number(group.cheapest)}</td>"
            f"<td class='num'>{_number(group.nearest)}</td></tr>"
        )
    return (
        "<h3>Does the cost rank plans as the truth does?</h3><div class='scroll'><table><thead><tr>"
        "<th scope='col'>Candidates</th><th scope='col'>Rank correlation of cost and true distance"
        "</th><th scope='col'>Mean distance</th><th scope='col'>after the cheapest</th>"
        f"<th scope='col'>after the nearest</th></tr></thead><tbody>{rows}</tbody></table></div>"
        f"<p class='note'>{found.tasks} tasks, {_number(found.start)} from the goal at the start; "
        f"true distances at the end of a plan. {escape(shown_text(found.planner))}.</p>"
    )


def _landscapes(found: Sequence[Landscape]) -> str:
    cards = ""
    for number, one in enumerate(found, start=1):
        maps = [("cost", one.cost, one.lowest)]
        if one.distance is not None and one.nearest is not None:
            maps.append(("true distance", one.distance, one.nearest))
        for title, rows, place in maps:
            recorded = one.nearest if one.distance is None else None
            cards += _map(f"Task {number}: {title}", one, np.array(rows), place, also=recorded)
    first, second = found[0].directions
    return (
        "<h3>Cost of doing the same in every step</h3>"
        f"<p class='note'>To the right: number {first} of the action, downwards: number {second}, "
        f"from {_number(found[0].values[0])} to {_number(found[0].values[-1])} standard deviations "
        "of the training data; the other numbers at their mean. Dark is low, the ring is lowest; a "
        f"square is what was recorded.</p><div class='maps'>{cards}</div>"
    )


def _map(
    title: str,
    one: Landscape,
    values: Float[np.ndarray, "n n"],
    place: tuple[float, float],
    *,
    also: tuple[float, float] | None,
) -> str:
    low, high = float(values.min()), float(values.max())
    scaled = np.log(values) if low > 0 and high > _WIDE * low else values
    span = float(scaled.max() - scaled.min()) or 1.0
    picture = _picture(np.nan_to_num((scaled - scaled.min()) / span))
    x, y = (_spot(number, one.values) for number in place)
    marks = f"<circle cx='{x:.1f}' cy='{y:.1f}' r='6' class='mark'></circle>"
    if also is not None:
        x, y = (_spot(number, one.values) - 5 for number in also)
        marks += f"<rect x='{x:.1f}' y='{y:.1f}' width='10' height='10' class='mark'></rect>"
    words = f"{title}, {_number(low)} to {_number(high)}"
    return (
        f"<figure><svg viewBox='0 0 {_SIDE} {_SIDE}' role='img' aria-label='{escape(words)}'>"
        f"<image href='{picture}' width='{_SIDE}' height='{_SIDE}'></image>{marks}</svg>"
        f"<figcaption>{escape(words)}</figcaption></figure>"
    )


def _spot(value: float, values: Sequence[float]) -> float:
    """Return where a value is along the side of a picture whose pixels stand for `values`."""
    side = _SIDE / len(values)
    part = (value - values[0]) / (values[-1] - values[0])
    return min(max(side / 2 + part * (_SIDE - side), 0.0), float(_SIDE))


def _picture(parts: Float[np.ndarray, "n n"]) -> str:
    """Return a PNG of numbers from 0 (dark) to 1 (light)."""
    dark, light = np.array(_DARK), np.array(_LIGHT)
    pixels = (dark + parts[..., None] * (light - dark)).astype(np.uint8)
    file = io.BytesIO()
    big = Image.fromarray(pixels).resize((_SIDE, _SIDE), Image.Resampling.NEAREST)
    big.save(file, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def _failures(found: Failures) -> str:
    rows = "".join(
        f"<tr><th scope='row'>{escape(shown_text(where))}</th><td class='num'>{count}</td>"
        f"<td>{_share(count / found.tasks)}</td></tr>"
        for where, count in found.counts.items()
    )
    low, high = found.ci95
    table = (
        "<div class='scroll'><table><thead><tr><th scope='col'>Where it stopped</th>"
        "<th scope='col'>Tasks</th><th scope='col' class='wide'>of all tasks</th></tr></thead>"
        f"<tbody>{rows}</tbody></table></div>"
    )
    return (
        "<h3>Where failed episodes stop</h3>"
        f"<p>{100 * found.success:.1f} % [{100 * low:.1f}, {100 * high:.1f}] of {found.tasks} tasks "
        f"were solved, protocol <code>{escape(shown_text(found.protocol))}</code>.</p>"
        f"{table if rows else ''}"
    )


def _share(part: float) -> str:
    return (
        "<svg class='bar tone1' viewBox='0 0 208 20' aria-hidden='true'>"
        "<line class='track' x1='4' x2='204' y1='10' y2='10'></line>"
        f"<line class='whisker' x1='4' x2='{4 + 200 * min(part, 1.0):.1f}' y1='10' y2='10'></line>"
        "</svg>"
    )


def _interval(found: Difference) -> str:
    return f"{_number(found.difference)} {_ends(found.ci95)}"


def _ends(ends: tuple[float, float] | None) -> str:
    return "unknown" if ends is None else f"[{_number(ends[0])}, {_number(ends[1])}]"


def _known(value: float | None) -> str:
    return "unknown" if value is None else _number(value)


def _number(value: float) -> str:
    return f"{value:.3g}" if math.isfinite(value) else str(value)


def _blocks(count: int) -> str:
    return "1 block" if count == 1 else f"{count} blocks"
