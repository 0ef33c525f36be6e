"""The executed plans of the report: animations of what was imagined and what happened, failures first."""

from html import escape

import numpy as np

from jepawm.evaluation.results import Results
from jepawm.evaluation.rollouts import Rollouts
from jepawm.report.charts import shown_text
from jepawm.report.sections import absent, section

REACHED, MISSED = "at the goal", "missed"


def rollouts_section(rollouts: Rollouts | None, results: Results | None) -> str:
    """Return the cards that the page's script turns into animations, in groups."""
    title = "Executed plans"
    if rollouts is None:
        return section("plans", title, body=absent("rollouts.npz", "jepawm eval RUN --out RUN"))
    paths = results is not None and results.state_to_pixel is not None
    words = (
        "<ul class='legend'><li><span class='swatch executed'></span>executed path</li>"
        "<li><span class='swatch imagined'></span>imagined path: what the model predicted when it "
        "planned, read from its latents by a linear probe</li>"
        "<li><span class='swatch goal'></span>goal</li></ul>"
        if paths
        else "<p class='note'>No paths are drawn: the states of this environment are not places "
        "in the picture.</p>"
    )
    seen = rollouts.imagined_frames is not None
    groups = "".join(
        f"<h3 class='group'>{escape(shown_text(name))}: {len(tasks)}</h3><div class='tasks'>"
        + "".join(_task_card(task, bool(rollouts.success[task]), imagined=seen) for task in tasks)
        + "</div>"
        for name, tasks in group_tasks(rollouts).items()
    )
    body = (
        f"<p>The first {len(rollouts.success)} tasks of the world model's row: first those that it "
        "missed, by where they stopped, the farthest from the goal before the others."
        f"{_IMAGINED if seen else ''}</p>{words}"
        "<p><button type='button' id='play-all' aria-pressed='false'>Play all</button></p>"
        "<noscript><p class='note'>The animations need JavaScript (nothing is loaded from the "
        f"network).</p></noscript>{groups}"
    )
    return section("plans", title, body=body)


_IMAGINED = (
    " Beside each stands what the model imagined of that moment when it first planned, painted by its "
    "decoder from latents alone; it stays where that plan ends."
)


def group_tasks(rollouts: Rollouts) -> dict[str, list[int]]:
    """Return tasks by how they went: missed ones by where they stopped, most frequent first, then the others.

    Within a group of missed ones the farthest from the goal come first.
    """
    gap = rollouts.states[:, -1] - rollouts.goal_states
    with np.errstate(over="ignore"):  # damaged files hold anything
        far = np.linalg.norm(np.nan_to_num(gap, nan=np.inf), axis=-1)
    groups: dict[str, list[int]] = {}
    for task in sorted(np.flatnonzero(~rollouts.success).tolist(), key=lambda task: -far[task]):
        where = rollouts.stops[task] if rollouts.stops else ""
        groups.setdefault(f"{MISSED}, {where}" if where else MISSED, []).append(task)
    ordered = dict(sorted(groups.items(), key=lambda one: -len(one[1])))
    reached = np.flatnonzero(rollouts.success).tolist()
    return {**ordered, REACHED: reached} if reached else ordered


def _task_card(index: int, success: bool, *, imagined: bool) -> str:
    outcome, sign = ("reached", "✓") if success else ("missed", "✗")
    name = f"Task {index + 1}"
    also = "<figure><canvas class='seen' width='128' height='128' role='img' "
    also += f"aria-label='{name}: imagined'></canvas><figcaption>imagined</figcaption></figure>"
    return (
        f"<article class='task {outcome}' data-task='{index}'><h4>{name}"
        f"<span class='outcome'>{sign} {outcome} the goal</span></h4>"
        f"<canvas class='played' width='384' height='384' role='img' aria-label='{name}: executed plan, "
        f"{outcome} the goal'></canvas><div class='controls'>"
        f"<button type='button' class='play' aria-pressed='false' aria-label='Play {name}'>▶</button>"
        f"<input type='range' min='0' value='0' aria-label='Step of {name}'>"
        "<output>0</output></div><div class='ends'><figure><img alt='start' class='start'>"
        "<figcaption>start</figcaption></figure><figure><img alt='goal' class='goal'>"
        f"<figcaption>goal</figcaption></figure>{also if imagined else ''}</div></article>"
    )
