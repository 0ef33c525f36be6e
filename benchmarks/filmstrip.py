"""Render executed plans as one picture of filmstrips: `python benchmarks/filmstrip.py RUN OUT.png`."""

import argparse
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from jepawm.errors import UserError
from jepawm.evaluation.result_files import read_results, read_rollouts
from jepawm.evaluation.rollouts import Rollouts
from jepawm.report.animation import Points, path_fractions

TILE = 132
GAP = 10
LABEL = 96
FINE = 3
"""Factor by which the picture is drawn larger before it is scaled down, for smooth lines."""

INK, SOFT = "#16202b", "#56636f"
EXECUTED, IMAGINED, GOAL, MISSED = "#1668b8", "#d9690f", "#107a4d", "#b3261e"


def render_picture(run: Path, out: Path, *, num_tasks: int = 4, num_frames: int = 6) -> Path:
    """Write a PNG with one filmstrip per task: frames, executed and imagined path, and the goal.

    Raises:
        UserError: if the run has no `results.json` or `rollouts.npz`, or one is malformed.
    """
    for name in ("results.json", "rollouts.npz"):
        if not (run / name).is_file():
            raise UserError(f"{run} has no {name}; write it with `jepawm eval RUN --out RUN`")
    scale = read_results(run / "results.json").state_to_pixel
    rollouts = read_rollouts(run / "rollouts.npz")
    num_tasks = min(num_tasks, len(rollouts.frames))
    last = rollouts.frames.shape[1] - 1
    steps = sorted({round(i * last / max(1, num_frames - 1)) for i in range(num_frames)})
    width = LABEL + (len(steps) + 1) * (TILE + GAP)
    height = 30 + num_tasks * (TILE + GAP) + 30
    canvas = Image.new("RGB", (width * FINE, height * FINE), "white")
    pen = ImageDraw.Draw(canvas)
    for column, title in enumerate([f"step {step}" for step in steps] + ["goal"]):
        _text(pen, (LABEL + column * (TILE + GAP) + TILE / 2, 15.0), title, color=SOFT)
    for task in range(num_tasks):
        _draw_strip(canvas, rollouts, task=task, steps=steps, scale=scale)
    if scale is not None:
        _draw_legend(pen, y=height - 16.0)
    canvas = canvas.resize((width, height), Image.Resampling.LANCZOS)
    out.parent.mkdir(parents=True, exist_ok=True)
    canvas.quantize(192).save(out, "PNG", optimize=True)
    return out


def _draw_strip(
    canvas: Image.Image, rollouts: Rollouts, *, task: int, steps: list[int], scale: float | None
) -> None:
    pen = ImageDraw.Draw(canvas)
    top = 30 + task * (TILE + GAP)
    success = bool(rollouts.success[task])
    words = "reached" if success else "missed"
    _text(pen, (LABEL / 2 - 4, top + TILE / 2 - 11), f"task {task + 1}", color=INK)
    _text(pen, (LABEL / 2 - 4, top + TILE / 2 + 11), words, color=GOAL if success else MISSED)
    height, width = rollouts.frames.shape[-2:]

    def path(states: np.ndarray) -> Points:
        return path_fractions(states, scale, height=height, width=width)

    executed, imagined = path(rollouts.states[task]), path(rollouts.imagined_states[task])
    goal = path(rollouts.goal_states[task][None])
    for column, step in enumerate(steps):
        corner = (LABEL + column * (TILE + GAP), top)
        _paste(canvas, rollouts.frames[task, step], corner)
        _draw_dots(pen, imagined, corner)
        _draw_line(pen, executed[: step + 1], corner)
        _draw_ring(pen, goal, corner)
    corner = (LABEL + len(steps) * (TILE + GAP), top)
    _paste(canvas, rollouts.goal_frames[task], corner)
    _draw_line(pen, executed, corner)
    _draw_ring(pen, goal, corner)
    edge = [FINE * value for value in (corner[0], top, corner[0] + TILE - 1, top + TILE - 1)]
    pen.rectangle(edge, outline=GOAL if success else MISSED, width=2 * FINE)


def _paste(canvas: Image.Image, frame: np.ndarray, corner: tuple[int, int]) -> None:
    tile = Image.fromarray(np.ascontiguousarray(frame.transpose(1, 2, 0)))
    tile = tile.resize((TILE * FINE, TILE * FINE), Image.Resampling.BICUBIC)
    canvas.paste(tile, (corner[0] * FINE, corner[1] * FINE))
    edge = [FINE * value for value in (*corner, corner[0] + TILE - 1, corner[1] + TILE - 1)]
    ImageDraw.Draw(canvas).rectangle(edge, outline="#c4ccd4", width=FINE)


def _places(points: Points, corner: tuple[int, int]) -> list[tuple[float, float]]:
    return [((corner[0] + x * TILE) * FINE, (corner[1] + y * TILE) * FINE) for x, y in points]


def _draw_line(pen: ImageDraw.ImageDraw, points: Points, corner: tuple[int, int]) -> None:
    places = _places(points, corner)
    if len(places) > 1:
        pen.line(places, fill=EXECUTED, width=round(2.2 * FINE), joint="curve")
    for x, y in places[:1]:
        _disc(pen, x, y, radius=3.2, color=EXECUTED)


def _draw_dots(pen: ImageDraw.ImageDraw, points: Points, corner: tuple[int, int]) -> None:
    places = _places(points, corner)
    for start, end in pairwise(places):
        pen.line([start, end], fill="#f3b584", width=FINE)
    for x, y in places:
        _disc(pen, x, y, radius=2.4, color=IMAGINED)


def _draw_ring(pen: ImageDraw.ImageDraw, points: Points, corner: tuple[int, int]) -> None:
    for x, y in _places(points, corner):
        radius = 7 * FINE
        box = (x - radius, y - radius, x + radius, y + radius)
        pen.ellipse(box, outline=GOAL, width=2 * FINE)


def _disc(pen: ImageDraw.ImageDraw, x: float, y: float, *, radius: float, color: str) -> None:
    reach = radius * FINE
    pen.ellipse((x - reach, y - reach, x + reach, y + reach), fill=color)


def _text(
    pen: ImageDraw.ImageDraw,
    place: tuple[float, float],
    text: str,
    *,
    color: str,
    anchor: str = "mm",
) -> None:
    font = ImageFont.load_default(size=14 * FINE)
    pen.text((place[0] * FINE, place[1] * FINE), text, fill=color, font=font, anchor=anchor)


def _draw_legend(pen: ImageDraw.ImageDraw, *, y: float) -> None:
    x = float(LABEL)
    for color, text in (
        (EXECUTED, "executed path"),
        (IMAGINED, "imagined path (probe of the predicted latents)"),
        (GOAL, "goal"),
    ):
        _disc(pen, (x + 6) * FINE, y * FINE, radius=4.0, color=color)
        _text(pen, (x + 16, y), text, color=SOFT, anchor="lm")
        x += 44 + 7.4 * len(text)


def main() -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="run directory with results.json and rollouts.npz")
    parser.add_argument("out", type=Path, help="picture to write, a .png")
    parser.add_argument("--num-tasks", type=int, default=4, help="filmstrips")
    parser.add_argument("--num-frames", type=int, default=6, help="frames in a filmstrip")
    options = parser.parse_args()
    try:
        out = render_picture(
            options.run, options.out, num_tasks=options.num_tasks, num_frames=options.num_frames
        )
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    sys.stdout.write(f"{out}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
