"""A play in one file: the page with the answers to its questions inside, for any browser, offline."""

import json
from collections.abc import Sequence
from importlib.resources import files
from typing import TYPE_CHECKING

from jepawm.runs.play.messages import Ask, ask_to_json
from jepawm.runs.play.scenes import SCENES, scenes_to_json

if TYPE_CHECKING:  # the page is served before torch is imported
    from jepawm.runs.play.thinking import Players


def record(players: "Players", asks: Sequence[Ask]) -> str:
    """Answer questions and return a page that shows the answers, HTML that needs no other file."""
    steps = [{"ask": ask_to_json(ask), "answer": players.answer(ask)} for ask in asks]
    names = list(dict.fromkeys(ask.model for ask in asks))
    abouts = {
        name: {
            **players.find(name).about(),
            "model": name,
            "models": names,
            "scenes": scenes_to_json(SCENES),
        }
        for name in names
    }
    return page_with({"abouts": abouts, "steps": steps})


def page_with(recording: object) -> str:
    """Return the page with style, script and a recording inside."""
    here = files("jepawm.runs.play")
    page, style, script = (
        here.joinpath(name).read_text(encoding="utf-8")
        for name in ("page.html", "page.css", "page.js")
    )
    data = json.dumps(recording, allow_nan=False).replace("<", "\\u003c")
    whole = {
        '<link rel="stylesheet" href="page.css">': f"<style>{style}</style>",
        '<script src="page.js" defer></script>': "",
        "</body>": f'<script type="application/json" id="recording">{data}</script>'
        f"<script>{script}</script></body>",
    }
    for before, after in whole.items():
        page = page.replace(before, after)
    return page
