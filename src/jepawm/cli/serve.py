"""`jepawm serve`: plans for a robot's own program."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal, cast

import tyro

from jepawm.cli.choices import DeviceName, choose_device, trust_source
from jepawm.cli.evaluate import take_planner
from jepawm.cli.output import to_json
from jepawm.cli.parsing import Command, Outcome, first_name, parse
from jepawm.planning import PLANNERS

if TYPE_CHECKING:  # at run time it is imported when needed: help does not wait for torch
    from jepawm.contracts import Planner


@dataclass(frozen=True, kw_only=True)
class ServeOptions:
    """Options of `serve`."""

    source: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """Run or checkpoint folder, or the name of a bundled or released checkpoint."""
    port: int = 8766
    """Port of this machine; the next free one is taken where it is in use, 0: any."""
    horizon: int = 3
    """Action blocks of a plan."""
    fit: Literal["crop", "stretch"] | None = None
    """How pictures become square; as those of the training data did if not given."""
    camera: str | None = None
    """Which of several cameras it plans with, joined by commas; all of the model's if not given."""
    seed: int = 0
    """Seed of the planner."""
    device: DeviceName = "auto"
    """Device to plan on."""
    trust: bool = False
    """Run code of other people that only the run names: parts given as my_module:MyThing."""
    json: bool = False
    """Print what was served as one JSON object when the server ends."""


def prepare_serve(argv: list[str]) -> Command:
    """Parse `jepawm serve RUN`."""
    trust_source(first_name(argv, known=[]), trust="--trust" in argv)  # the planner may need it
    parts, rest = take_planner(argv)
    options, parsed = parse(
        ServeOptions,
        rest,
        verb="serve",
        description="Serve plans to a robot's own program (websocket on 127.0.0.1, msgpack frames); Ctrl-C "
        f"ends it. --planner NAME chooses among {', '.join(PLANNERS.names())}.",
        parts=parts,
    )

    def run() -> Outcome:
        from jepawm.data.cameras import named_cameras
        from jepawm.runs.serve.server import ServeRules, serve_run

        trust_source(options.source, trust=options.trust)
        served = serve_run(
            options.source,
            port=options.port,
            rules=ServeRules(
                horizon=options.horizon,
                planner=cast("Planner | None", parsed.get("planner")),
                fit=options.fit,
                cameras=tuple(named_cameras(options.camera)),
                seed=options.seed,
            ),
            device=choose_device(options.device),
        )
        text = f"{served.url} is closed: {served.clients} clients, {served.plans} plans"
        return Outcome(result=to_json(served), text=text)

    return Command(run=run, as_json=options.json)
