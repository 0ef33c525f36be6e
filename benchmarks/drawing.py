"""Draw the report's charts, and maps of numbers, into SVG files of their own."""

import base64
import io
import re
from html import escape
from pathlib import Path

import numpy as np
from PIL import Image

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
        parts.append(f'<text x="{left}" y="14">{escape(title)}</text>')
        parts.append(
            f'<image x="{left}" y="20" width="{side}" height="{side}" '
            f'href="data:image/png;base64,{_picture((values - low) / (high - low))}"/>'
        )
        center = f'{left + side / 2:.1f}" cy="{20 + side / 2:.1f}'
        parts.append(f'<circle cx="{center}" r="3" fill="#d9690f"/>')
        parts.append(f'<text x="{left}" y="{side + 34}">{low:.2g} to {high:.2g}</text>')
    parts.append(f'<text x="{gap}" y="{side + 50}">{escape(caption)} Side: {2 * extent:g}.</text>')
    _write(path, parts, width=gap + len(maps) * (side + gap), height=side + 58)


def _picture(parts: np.ndarray) -> str:
    """Return a PNG of numbers from 0 (dark) to 1 (light), in base64."""
    dark, light = np.array([20, 40, 90]), np.array([250, 245, 225])
    pixels = (dark + parts[..., None] * (light - dark)).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).resize((400, 400), Image.Resampling.BILINEAR).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def _write(path: Path, parts: list[str], *, width: float, height: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" '
        f'width="{1.6 * width:g}"><style>{STYLE}</style><rect width="100%" height="100%" '
        f'fill="#fff"/>{"".join(parts)}</svg>\n',
        encoding="utf-8",
    )
