"""Look at the page of `jepawm play` through a browser: pictures for the docs, and minutes of random clicking.

    python benchmarks/play.py wall --pictures docs/images
    python benchmarks/play.py wall --minutes 30

It needs Playwright for Python and a Chromium (`--chromium`, else the first of chromium, google-chrome). With
`--minutes` a row goes to results/play.jsonl: seconds from the command to the first page and to the first plan
in it, milliseconds from a drag to the new plan, what the console and the server complained about, and the
growth of the server's memory after a minute of clicking, every model and scene having been opened once.
"""

import argparse
import json
import platform
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic, perf_counter, sleep
from typing import TYPE_CHECKING

import numpy as np
from tasks import command

if TYPE_CHECKING:  # Playwright is installed by who runs this
    from playwright.sync_api import Page

RESULTS = Path(__file__).parents[1] / "results" / "play.jsonl"
PICTURES = {"play": 4, "play-wall": 5}
"""Pictures of the docs and the scenes that they show, counted from 0."""
_PATIENCE = 60_000
"""Milliseconds that anything may take before it is taken for stuck."""


def main() -> None:
    """Take pictures, or click and append a row."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", nargs="?", default="wall")
    parser.add_argument("--pictures", type=Path)
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--width", type=int, default=1080)
    parser.add_argument("--chromium")
    options = parser.parse_args()
    names = [options.chromium] if options.chromium else ["chromium", "google-chrome"]
    browser = next((found for name in names if (found := shutil.which(name))), None)
    if browser is None:
        raise SystemExit("no Chromium on this machine; name one by --chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as player:
        page = player.chromium.launch(executable_path=browser, args=["--no-sandbox"]).new_page(
            viewport={"width": options.width, "height": 800},
            bypass_csp=True,  # waiting evaluates text in the page
        )
        page.set_default_timeout(_PATIENCE)
        complaints: list[str] = []
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "console",
            lambda told: complaints.append(told.text) if told.type == "error" else None,
        )
        with served(options.source) as (url, log, process, began):
            page.goto(url)
            first = {"page_seconds": perf_counter() - began}
            page.wait_for_function("idle()")
            first["plan_seconds"] = perf_counter() - began
            if options.pictures:
                draw(page, options.pictures)
            if options.minutes:
                row = click(page, options, process=process)
                row |= {"first": first, "console": complaints}
                row["log"] = log.read_text().splitlines()[1:]
                print(json.dumps(row))
                with RESULTS.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(row) + "\n")


@contextmanager
def served(source: str) -> Iterator[tuple[str, Path, subprocess.Popen, float]]:
    """Serve the page on any port; yields its address, its log, its process and when it was started."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        began = perf_counter()
        with log.open("w") as file:
            words = ["-m", "jepawm", "play", source, "--no-browser", "--port", "0"]
            process = subprocess.Popen([sys.executable, *words], stderr=file, stdout=file)
        try:
            while ";" not in (text := log.read_text()):
                if process.poll() is not None:
                    raise SystemExit(text)
                sleep(0.02)
            yield text.partition(";")[0], log, process, began
        finally:
            process.terminate()
            process.wait()


def draw(page: "Page", folder: Path) -> None:
    """Write a picture of each scene that the docs show."""
    for name, scene in PICTURES.items():
        page.locator("#tour button").nth(scene + 1).click()
        page.wait_for_function(f"idle() && scene === {scene}")
        page.screenshot(path=folder / f"{name}.png", full_page=True)


def click(page: "Page", options: argparse.Namespace, *, process: subprocess.Popen) -> dict:
    """Click, drag and type at random; return what was measured."""
    chance = random.Random(options.seed)
    open_all(page)
    waits: list[float] = []
    base, ends, clicks = 0, monotonic() + 60 * options.minutes, 0
    warm = monotonic() + 60 * min(1.0, options.minutes / 4)
    while monotonic() < ends:
        if not base and monotonic() > warm:
            base = memory(process.pid)
        what = chance.random()
        if what < 0.5:
            waits.append(drag(page, chance))
        elif what < 0.9:
            buttons = page.locator("button:visible:not(#export), select:visible, input:visible")
            one = buttons.nth(chance.randrange(buttons.count()))
            if one.evaluate("(one) => one.tagName") == "SELECT":
                one.select_option(index=chance.randrange(one.locator("option").count()))
            else:
                one.click()
        else:
            page.locator("canvas.scene").first.focus()
            page.keyboard.press(chance.choice(["ArrowLeft", "ArrowUp", "s", "g", "h", "r"]))
        clicks += 1
        page.wait_for_function("idle()")
    fast = [one for one in waits if one == one]
    return {
        "source": options.source,
        "minutes": options.minutes,
        "seed": options.seed,
        "width": options.width,
        "clicks": clicks,
        "drags": len(fast),
        "drag_ms": {
            "median": float(np.median(fast)),
            "p95": float(np.quantile(fast, 0.95)),
            "largest": max(fast),
        },
        "memory_growth": memory(process.pid) / base - 1,
        "command": command(),
        "date": datetime.now(tz=UTC).date().isoformat(),
        "machine": platform.processor() or platform.machine(),
    }


def open_all(page: "Page") -> None:
    """Open every scene and every model once, the first one last."""
    for scene in range(page.evaluate("about.scenes.length")):
        page.locator("#tour button").nth(scene + 1).click()
        page.wait_for_function("idle()")
    names = page.evaluate("about.models")
    for name in [*names[1:], names[0]]:
        page.locator("#model").select_option(name)
        page.wait_for_function("idle()")


def drag(page: "Page", chance: random.Random) -> float:
    """Drag the goal by the quick planner of the page; return the milliseconds to the new plan."""
    quick = "controls.elements.planner.value = about.proposals ? 'propose' : 'fast'"
    page.evaluate(f"{quick}; controls.elements.second.value = ''")
    page.wait_for_function("idle()")
    page.locator("canvas.scene").first.scroll_into_view_if_needed()
    box = page.locator("canvas.scene").first.bounding_box()
    assert box is not None
    place = page.evaluate("toPicture(goal, handles()[0].columns)")
    page.mouse.move(box["x"] + place[0] * box["width"], box["y"] + place[1] * box["height"])
    page.mouse.down()
    began = perf_counter()
    to = [chance.uniform(0.15, 0.85) for _ in range(2)]
    page.mouse.move(box["x"] + to[0] * box["width"], box["y"] + to[1] * box["height"])
    page.wait_for_function("idle()")
    took = 1000 * (perf_counter() - began)
    page.mouse.up()
    return took


def memory(pid: int) -> int:
    """Return the resident memory of a process in kB."""
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.split("VmRSS:")[1].split()[0])


if __name__ == "__main__":
    main()
