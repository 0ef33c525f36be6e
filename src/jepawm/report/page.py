"""Assemble the report: one HTML file that loads nothing from anywhere."""

import base64
import hashlib
import json
from collections.abc import Mapping
from html import escape
from importlib.resources import files
from pathlib import Path

from jepawm.errors import UserError
from jepawm.files import write_whole
from jepawm.report.animation import task_payloads
from jepawm.report.charts import chart_payload, shown_text
from jepawm.report.diagnosis import diagnosis_section
from jepawm.report.inputs import RunFiles, read_run
from jepawm.report.plans import rollouts_section
from jepawm.report.sections import (
    cost_section,
    curves_section,
    header,
    success_section,
)


def write_report(run: Path) -> Path:
    """Write `report.html` into a run directory and return its path.

    A file that the run does not have leaves a section that says which command writes it.
    """
    html = render_page(read_run(run))
    path = run / "report.html"
    try:
        write_whole(path, html)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}; free some space") from error
    return path


def render_page(run: RunFiles) -> str:
    """Return the whole page as HTML."""
    curves, curve_charts = curves_section(run.metrics)
    cost, cost_charts = cost_section(run.rollouts)
    diagnosis, diagnosis_charts = diagnosis_section(run.diagnosis)
    scale = run.results.state_to_pixel if run.results is not None else None
    payload = {
        "charts": {
            chart.name: chart_payload(chart)
            for chart in curve_charts + cost_charts + diagnosis_charts
        },
        "tasks": task_payloads(run.rollouts, scale) if run.rollouts is not None else [],
    }
    whose = run.results.env if run.results is not None else run.folder.name
    name = (run.experiment or {}).get("recipe") or whose
    sections = [
        success_section(run.results),
        rollouts_section(run.rollouts, run.results),
        cost,
        diagnosis,
        curves,
        READING,
    ]
    return whole_page(
        f"{shown_text(str(name))}: jepawm report",
        f"{header(run)}{NAVIGATION}{''.join(sections)}",
        payload=payload,
    )


def whole_page(title: str, body: str, *, payload: Mapping[str, object]) -> str:
    """Return a page that loads nothing, from its title, its HTML and what its script reads.

    The payload holds `charts` by name (`chart_payload`) and `tasks` (`task_payloads`).
    """
    script, style = _asset("page.js"), _asset("page.css")
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_policy(script)}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{style}</style></head>"
        f"<body><main>{body}</main>"
        f'<script type="application/json" id="data">{_json(payload)}</script>'
        f"<script>{script}</script></body></html>\n"
    )


NAVIGATION = (
    "<nav aria-label='Sections'><a href='#success'>Success</a><a href='#plans'>Executed plans</a>"
    "<a href='#cost'>Cost</a><a href='#diagnosis'>Diagnosis</a><a href='#curves'>Training curves</a>"
    "<a href='#reading'>How to read this</a></nav>"
)

READING = """<section id='reading' aria-labelledby='reading-h'>
<h2 id='reading-h'>How to read this</h2><dl class='reading'>
<dt>Success</dt><dd>Compare the world model first with <em>True dynamics</em>: the same planner with
a perfect model. The distance between the two is what the world model costs; the distance from there to
100 % is what the planner and its cost function miss. Do nothing and random actions are the floor.</dd>
<dt>Intervals</dt><dd>Two rows whose intervals overlap widely may be equal. With 96 tasks an interval
is about 8 points to each side at 80 %, so a difference of a few points needs more tasks or seeds.</dd>
<dt>Executed plans</dt><dd>The blue line is what happened, the dotted orange line what the model expected
when it planned. Apart early: the model is wrong about the dynamics. Together, but not at the goal:
the search found nothing better, or the cost does not see the goal. The imagined path is read by a
linear probe and carries the probe's own error.</dd>
<dt>Cost</dt><dd>How far the planner got in its own terms. It is a distance between latents, without a
unit: compare iterations of one task, not runs of different models.</dd>
<dt>Diagnosis</dt><dd>Compare the open loop with copying first: where they meet, predictions say nothing
more, and a plan that looks farther is a guess. A real observation every few blocks starts them anew, which
is why replanning forgives drift. Costs that rank random plans well and elites badly mean that late
iterations of the search chase noise.</dd>
<dt>Training curves</dt><dd>Watch the rollout loss, the validation error at the last step, and the
effective rank. Losses of two recipes with different encoders are not comparable; success is.</dd>
</dl></section>"""


def _asset(name: str) -> str:
    return files("jepawm.report").joinpath(name).read_text(encoding="utf-8")


def _policy(script: str) -> str:
    """Return a policy under which the page can load nothing and run only its own script."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"


def _json(value: object) -> str:
    """Return JSON that cannot end the script element around it."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
