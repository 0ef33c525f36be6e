"""Values of an axis with their intervals as inline SVG, readable on a narrow screen."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

_WIDTH, _LEFT, _RIGHT = 360.0, 6.0, 354.0
_ROW, _TOP, _BOTTOM = 36.0, 6.0, 22.0


@dataclass(frozen=True, kw_only=True)
class Mark:
    """One line of the chart."""

    label: str
    """What it is."""
    value: float
    """Success rate, 0 to 1."""
    interval: tuple[float, float]
    """Its 95 % interval."""
    tone: int = 0
    """Index of the colour, 0 to 7."""
    paper: float | None = None
    """The paper's success rate; None where it gives none."""


def interval_chart(marks: Sequence[Mark], *, title: str) -> str:
    """Return a figure with a dot, a bar for the interval, and the paper's diamond for each mark."""
    height = _TOP + _ROW * len(marks) + _BOTTOM
    base = height - _BOTTOM
    grid = "".join(
        f'<line class="grid" x1="{_place(tick):.1f}" x2="{_place(tick):.1f}" y1="{_TOP:g}" '
        f'y2="{base:g}"/><text class="tick" x="{_place(tick):.1f}" y="{base + 14:g}" '
        f'text-anchor="{anchor}">{100 * tick:.0f}{unit}</text>'
        for tick, anchor, unit in (
            (0.0, "start", ""),
            (0.25, "middle", ""),
            (0.5, "middle", ""),
            (0.75, "middle", ""),
            (1.0, "end", " %"),
        )
    )
    lines = "".join(_line(mark, _TOP + _ROW * place) for place, mark in enumerate(marks))
    said = "; ".join(_described(mark) for mark in marks)
    return (
        f'<figure class="chart"><svg viewBox="0 0 {_WIDTH:g} {height:g}" role="img" '
        f'aria-label="{escape(title)}. {escape(said)}">{grid}{lines}</svg></figure>'
    )


def _line(mark: Mark, top: float) -> str:
    low, high = (_place(end) for end in mark.interval)
    text, track = top + 12, top + 24
    diamond = ""
    if mark.paper is not None:
        x = _place(mark.paper)
        diamond = (
            f'<path class="curve bold tone1" d="M{x - 5:.1f} {track:g}l5 -5l5 5l-5 5z">'
            f"<title>paper: {100 * mark.paper:.1f} %</title></path>"
        )
    return (
        f'<text class="axis-label" x="{_LEFT:g}" y="{text:g}">{escape(mark.label)}</text>'
        f'<text class="axis-label" x="{_RIGHT:g}" y="{text:g}" text-anchor="end">'
        f"{_figure(mark)}</text>"
        f'<g class="tone{mark.tone}"><line class="whisker" x1="{low:.1f}" x2="{high:.1f}" '
        f'y1="{track:g}" y2="{track:g}"/><circle class="dot" cx="{_place(mark.value):.1f}" '
        f'cy="{track:g}" r="4"/></g>{diamond}'
    )


def _place(rate: float) -> float:
    return _LEFT + (_RIGHT - _LEFT) * min(1.0, max(0.0, rate))


def _figure(mark: Mark) -> str:
    low, high = (min(1.0, max(0.0, end)) for end in mark.interval)
    return f"{100 * mark.value:.1f} [{100 * low:.1f}, {100 * high:.1f}]"


def _described(mark: Mark) -> str:
    paper = "" if mark.paper is None else f", paper {100 * mark.paper:.1f}"
    return f"{mark.label}: {_figure(mark)} per cent{paper}"
