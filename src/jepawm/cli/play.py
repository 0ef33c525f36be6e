"""`jepawm play`: the local page."""

from dataclasses import dataclass
from typing import Annotated

import tyro

from jepawm.cli.choices import trust_source
from jepawm.cli.output import to_json
from jepawm.cli.parsing import Command, Outcome, first_name, parse


@dataclass(frozen=True, kw_only=True)
class PlayOptions:
    """Options of `play`."""

    source: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")] = "wall"
    """Run folder or bundled checkpoint, with a decoder and a probe."""
    port: int = 8765
    """Port of this machine; the next free one is taken where it is in use, 0: any."""
    no_browser: bool = False
    """Open no browser; the address is printed."""
    trust: bool = False
    """Run code of other people that only the run names: parts given as my_module:MyThing."""
    json: bool = False
    """Print the address as one JSON object when the server ends."""


def prepare_play(argv: list[str]) -> Command:
    """Parse `jepawm play [RUN]`."""
    trust_source(first_name(argv, known=[]), trust="--trust" in argv)
    options, _ = parse(
        PlayOptions,
        argv,
        verb="play",
        description="Serve a local page (127.0.0.1) where one drags start and goal and watches the planner "
        "think; Ctrl-C ends it.",
        parts={},
    )

    def run() -> Outcome:
        from jepawm.runs.play.server import play_run

        serving = play_run(
            options.source,
            port=options.port,
            browser=not options.no_browser,
        )
        return Outcome(result=to_json(serving), text=f"{serving.url} is closed")

    return Command(run=run, as_json=options.json)
