"""`jepawm push RUN user/repo`: a model goes to the hub."""

from dataclasses import dataclass
from typing import Annotated

import tyro

from jepawm.cli.output import render_fields, to_json
from jepawm.cli.parsing import Command, Outcome, parse


@dataclass(frozen=True, kw_only=True)
class PushOptions:
    """Options of `push`."""

    source: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """Run folder, checkpoint folder, or the name of a bundled checkpoint."""
    repository: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="USER/REPO")]
    """Repository on the hub; made where it is not there."""
    license: str | None = None
    """Licence of the weights for the model card, as the hub names them: apache-2.0, cc-by-4.0, ..."""
    private: bool = False
    """Show a new repository to nobody else."""
    overwrite: bool = False
    """Add to a repository that exists."""
    json: bool = False
    """Print the result as one JSON object."""


def prepare_push(argv: list[str]) -> Command:
    """Parse `jepawm push RUN USER/REPO`."""
    text = "Upload a model with a model card; jepawm.load('hf://user/repo') takes it from there."
    options, _ = parse(PushOptions, argv, verb="push", description=text, parts={})

    def run() -> Outcome:
        from jepawm.runs import push_run

        pushed = push_run(
            options.source,
            options.repository,
            private=options.private,
            license_name=options.license,
            overwrite=options.overwrite,
        )
        result = to_json(pushed)
        return Outcome(result=result, text=render_fields(result))

    return Command(run=run, as_json=options.json)
