"""`jepawm report`, `jepawm list` and `jepawm check`: look at what is there."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from jepawm.cli.command import Command, Outcome
from jepawm.cli.output import render_fields
from jepawm.cli.parsing import parse


@dataclass(frozen=True, kw_only=True)
class ReportOptions:
    """Options of `report`."""

    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """Run folder, or a folder with results."""
    json: bool = False
    """Print the result as one JSON object."""


def prepare_report(argv: list[str]) -> Command:
    """Parse `jepawm report`."""
    text = "Write report.html, one file that opens offline."
    options, _ = parse(ReportOptions, argv, verb="report", description=text, parts={})

    def run() -> Outcome:
        from jepawm.runs import report_run

        result = {"report": report_run(options.run)}
        return Outcome(result=result, text=render_fields(result))

    return Command(run=run, as_json=options.json)


@dataclass(frozen=True, kw_only=True)
class ListOptions:
    """Options of `list`."""

    json: bool = False
    """Print the result as one JSON object."""


def prepare_list(argv: list[str]) -> Command:
    """Parse `jepawm list`."""
    text = "List everything that has a name."
    options, _ = parse(ListOptions, argv, verb="list", description=text, parts={})

    def run() -> Outcome:
        from jepawm.runs import list_all

        result = list_all()
        return Outcome(result=result, text=render_fields(result))

    return Command(run=run, as_json=options.json)


@dataclass(frozen=True, kw_only=True)
class CheckOptions:
    """Options of `check`."""

    kind: tyro.conf.Positional[Literal["golden"]]
    """What to check."""
    folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="DIR")]
    """Folder of the case files."""
    json: bool = False
    """Print the result as one JSON object."""


def prepare_check(argv: list[str]) -> Command:
    """Parse `jepawm check golden DIR`."""
    text = "Reproduce numbers of the reference implementation; exit code 0 only if all hold."
    options, _ = parse(CheckOptions, argv, verb="check", description=text, parts={})

    def run() -> Outcome:
        from jepawm.golden import runner, table

        results = runner.run(options.folder)
        return Outcome(
            result=table.to_json(results),
            text=table.render(results),
            exit_code=0 if runner.all_passed(results) else 1,
        )

    return Command(run=run, as_json=options.json)
