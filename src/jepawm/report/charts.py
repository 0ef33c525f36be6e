"""Line charts as inline SVG, drawn without a library and readable without a script."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from jepawm.errors import plain_text

WIDTH, HEIGHT = 360.0, 210.0
LEFT, RIGHT, TOP, BOTTOM = 48.0, 18.0, 10.0, 30.0
MAX_POINTS = 300
_LONGEST = 200
LARGEST = 1e100
"""Largest number that is drawn; beyond it axes would leave the range of floats."""


@dataclass(frozen=True, kw_only=True)
class Series:
    """One curve."""

    label: str
    """Name in the legend."""
    xs: Sequence[float]
    """Horizontal values, rising."""
    ys: Sequence[float]
    """Vertical values; those that cannot be drawn are left out."""
    tone: int = 0
    """Index of the colour, 0 to 7."""
    bold: bool = True
    """Whether the line is thick."""


@dataclass(frozen=True, kw_only=True)
class Chart:
    """Curves on common axes."""

    name: str
    """Identifier, unique on the page: letters, digits and hyphens."""
    title: str
    """Heading."""
    x_label: str
    """What the horizontal axis counts."""
    caption: str
    """How to read it."""
    series: tuple[Series, ...]
    """The curves."""
    logarithmic: bool = False
    """Whether the vertical axis is logarithmic; ignored if a value is not positive."""
    key: str = ""
    """Metric key, shown below the heading."""
    legend: tuple[tuple[int, str], ...] = ()
    """Entries (tone, words) in place of one per curve."""


@dataclass(frozen=True, kw_only=True)
class _Axis:
    low: float
    high: float
    logarithmic: bool
    start: float
    end: float

    def place(self, value: float) -> float:
        low, high = self.low, self.high
        if self.logarithmic:
            low, high, value = math.log10(low), math.log10(high), math.log10(value)
        return self.start + (value - low) / (high - low) * (self.end - self.start)

    def ticks(self) -> list[float]:
        if self.logarithmic:
            return _log_ticks(self.low, self.high)
        step = _nice_step(self.high - self.low)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [index * step for index in range(first, last + 1)]


def is_drawable(value: int | float) -> bool:
    """Return whether a number is finite and of a size that axes can show; 0 is."""
    return value == 0 or 1 / LARGEST <= abs(value) <= LARGEST


def thin(series: Series) -> Series:
    """Drop values that cannot be drawn and average neighbours down to `MAX_POINTS` points."""
    points = [
        (x, y)
        for x, y in zip(series.xs, series.ys, strict=True)
        if is_drawable(x) and is_drawable(y)
    ]
    size = max(1, math.ceil(len(points) / MAX_POINTS))
    groups = [points[i : i + size] for i in range(0, len(points), size)]
    return Series(
        label=series.label,
        xs=[group[-1][0] for group in groups],
        ys=[sum(y for _, y in group) / len(group) for group in groups],
        tone=series.tone,
        bold=series.bold,
    )


def chart_payload(chart: Chart) -> dict[str, object]:
    """Return what the page's script needs to show values under the pointer."""
    x_axis, _ = _axes(chart.series)
    return {
        "x": [x_axis.low, x_axis.high],
        "box": [LEFT, WIDTH - RIGHT],
        "xLabel": chart.x_label,
        "series": [
            {
                "label": one.label,
                "xs": [float(x) for x in one.xs],
                "ys": [round_to(y) for y in one.ys],
            }
            for one in chart.series
        ],
    }


def render_chart(chart: Chart) -> str:
    """Return the chart as an HTML figure."""
    x_axis, y_axis = _axes(chart.series, logarithmic=chart.logarithmic)
    marks = [_grid(x_axis, y_axis)]
    marks += [_curve(one, x_axis, y_axis) for one in chart.series]
    name, title = escape(chart.name), escape(chart.title)
    latest = f"<code>{escape(chart.key)}</code>" if chart.key else ""
    if len(chart.series) == 1:
        latest += f'<span class="latest">{round_to(chart.series[0].ys[-1]):g}</span>'
    scale = "logarithmic" if y_axis.logarithmic else "linear"
    return (
        f'<figure class="chart" id="{name}"><h3>{title}</h3>'
        f'<p class="key">{latest}</p>'
        f'<svg viewBox="0 0 {WIDTH:g} {HEIGHT:g}" role="img" aria-label="{title}, {scale} axis. '
        f'{escape(_summary(chart))}" data-chart="{name}">{"".join(marks)}'
        f'<text class="axis-label" x="{WIDTH - RIGHT:g}" y="{HEIGHT - 3:g}" text-anchor="end">'
        f"{escape(chart.x_label)}</text>"
        f'<line class="cursor" y1="{TOP:g}" y2="{HEIGHT - BOTTOM:g}" hidden=""></line></svg>'
        f"{_legend(chart)}<figcaption>{escape(chart.caption)}</figcaption></figure>"
    )


def shown_text(text: str) -> str:
    """Return a text of a file for the page: what it is, harmless, and not longer than a line or two."""
    text = plain_text(text)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}… ({len(text):,} characters)"


def round_to(value: float, digits: int = 4) -> float:
    """Round to significant digits."""
    return float(f"{value:.{digits}g}")


def _axes(series: Sequence[Series], *, logarithmic: bool = False) -> tuple[_Axis, _Axis]:
    xs = [x for one in series for x in one.xs]
    ys = [y for one in series for y in one.ys]
    logarithmic = logarithmic and min(ys) > 0 and max(ys) > 3 * min(ys)
    low, high = min(ys), max(ys)
    if logarithmic:
        low, high = low / 1.15, high * 1.15
    else:
        if 0 < low < 0.6 * high:
            low = 0.0
        margin = 0.06 * (high - low) or 0.1 * abs(high) or 1.0
        low, high = (low if low == 0 else low - margin), high + margin
    left, right = min(xs), max(xs)
    x_axis = _Axis(
        low=left,
        high=right if right > left else left + max(1.0, 0.1 * abs(left)),
        logarithmic=False,
        start=LEFT,
        end=WIDTH - RIGHT,
    )
    return x_axis, _Axis(
        low=low, high=high, logarithmic=logarithmic, start=HEIGHT - BOTTOM, end=TOP
    )


def _nice_step(span: float) -> float:
    rough = span / 4
    power = 10.0 ** math.floor(math.log10(rough))
    return next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough)


def _log_ticks(low: float, high: float) -> list[float]:
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1,), (1, 3), (1, 2, 5)):
        ticks = [f * 10.0**d for d in decades for f in factors if low <= f * 10.0**d <= high]
        if len(ticks) >= 3:
            break
    return ticks[:: math.ceil(len(ticks) / 6)]


def _grid(x_axis: _Axis, y_axis: _Axis) -> str:
    parts: list[str] = []
    for tick in y_axis.ticks():
        y = y_axis.place(tick)
        parts.append(
            f'<line class="grid" x1="{LEFT:g}" x2="{WIDTH - RIGHT:g}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text class="tick" x="{LEFT - 5:g}" y="{y + 3.5:.1f}" text-anchor="end">'
            f"{_tick(tick)}</text>"
        )
    base = HEIGHT - BOTTOM
    for tick in x_axis.ticks():
        x = x_axis.place(tick)
        parts.append(
            f'<text class="tick" x="{x:.1f}" y="{base + 13:g}" text-anchor="middle">'
            f"{_tick(tick)}</text>"
        )
    parts.append(
        f'<line class="base" x1="{LEFT:g}" x2="{WIDTH - RIGHT:g}" y1="{base:g}" y2="{base:g}"/>'
    )
    return "".join(parts)


def _tick(value: float) -> str:
    value = round_to(value)
    if abs(value) >= 1e6:
        return f"{value / 1e6:g}M"
    if abs(value) >= 1e4:
        return f"{value / 1e3:g}k"
    return f"{value:g}"


def _curve(series: Series, x_axis: _Axis, y_axis: _Axis) -> str:
    places = [(x_axis.place(x), y_axis.place(y)) for x, y in zip(series.xs, series.ys, strict=True)]
    weight = "bold" if series.bold else "fine"
    if len(places) == 1:
        x, y = places[0]
        return f'<circle class="dot tone{series.tone}" cx="{x:.1f}" cy="{y:.1f}" r="3"/>'
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    return f'<polyline class="curve {weight} tone{series.tone}" points="{points}"/>'


def _legend(chart: Chart) -> str:
    if len(chart.series) == 1 and not chart.legend:
        return ""
    entries = chart.legend or tuple((one.tone, one.label) for one in chart.series)
    items = "".join(
        f'<li><span class="swatch tone{tone}"></span>{escape(words)}</li>'
        for tone, words in entries
    )
    return f'<ul class="legend">{items}</ul>'


def _summary(chart: Chart) -> str:
    ends = (
        f"{one.label or chart.title}: from {round_to(one.ys[0]):g} to {round_to(one.ys[-1]):g}"
        for one in chart.series
    )
    return "; ".join(ends)
