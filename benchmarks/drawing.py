"""Draw the report's charts, and maps of numbers, into SVG files of their own."""

import re
from html import escape
from pathlib import Path

import numpy as np

from jepawm.report.charts import HEIGHT, WIDTH, Chart, render_chart

TONES = ("#1668b8", "#d9690f", "#107a4d", "#a32a6b", "#6b5bb5", "#8a6d00", "#2a8c9e", "#555")
STYLE = (
    "text{font:10px sans-serif;fill:#444}.grid{stroke:#e3e3e3}.base{stroke:#888}"
    "polyline{fill:none;stroke-width:1.8}.dot{stroke:none}"
    + "".join(f".tone{i}{{stroke:{c}}}circle.tone{i}{{fill:{c}}}" for i, c in enumerate(TONES))
)
ROW = 14.0


def write_chart(chart: Chart, path: Path) -> None:
    """Write a chart with its title and its legend."""
    found = re.search(r"<svg[^>]*>(.*?)</svg>", render_chart(chart), flags=re.DOTALL)
    assert found is not None
    parts = [f'<text x="{WIDTH / 2}" y="12" text-anchor="middle">{escape(chart.title)}</text>']
    parts.append(f'<g transform="translate(0 18)">{found.group(1)}</g>')
    for row, one in enumerate(chart.series):
        y = HEIGHT + 30 + ROW * row
        parts.append(f'<path class="tone{one.tone}" stroke-width="3" d="M48 {y - 3}h18"/>')
        parts.append(f'<text x="72" y="{y}">{escape(one.label)}</text>')
    _write(path, parts, width=WIDTH, height=HEIGHT + 34 + ROW * len(chart.series))


def write_maps(maps: dict[str, np.ndarray], path: Path, *, extent: float, caption: str) -> None:
    """Write square maps `[n, n]` side by side, each on a scale of its own, dark where low."""
    side, gap, parts = 200.0, 16.0, []
    for index, (title, values) in enumerate(maps.items()):
        left = gap + index * (side + gap)
        low, high = float(values.min()), float(values.max())
        cell = side / len(values)
        parts.append(f'<text x="{left}" y="14">{escape(title)}</text>')
        for row, line in enumerate((values - low) / (high - low)):
            for column, part in enumerate(line):
                red, green, blue = (
                    int(a + part * (b - a)) for a, b in ((20, 250), (40, 245), (90, 225))
                )
                parts.append(
                    f'<rect x="{left + column * cell:.1f}" y="{20 + row * cell:.1f}" '
                    f'width="{cell + 0.3:.1f}" height="{cell + 0.3:.1f}" '
                    f'fill="rgb({red},{green},{blue})"/>'
                )
        center = f'{left + side / 2:.1f}" cy="{20 + side / 2:.1f}'
        parts.append(f'<circle cx="{center}" r="3" fill="#d9690f"/>')
        parts.append(f'<text x="{left}" y="{side + 34}">{low:.2g} to {high:.2g}</text>')
    parts.append(f'<text x="{gap}" y="{side + 50}">{escape(caption)} Side: {2 * extent:g}.</text>')
    _write(path, parts, width=gap + len(maps) * (side + gap), height=side + 58)


def _write(path: Path, parts: list[str], *, width: float, height: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" '
        f'width="{1.6 * width:g}"><style>{STYLE}</style><rect width="100%" height="100%" '
        f'fill="#fff"/>{"".join(parts)}</svg>\n',
        encoding="utf-8",
    )
