"""`jepawm report`, `jepawm list` and `jepawm check`: look at what is there."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from jepawm.cli.output import render_fields, to_json
from jepawm.cli.parsing import Command, Outcome, parse

if TYPE_CHECKING:  # at run time results are there only after torch
    from jepawm.golden.runner import CaseResult


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
        from jepawm.report import write_report

        result = {"report": write_report(options.run)}
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
        result = to_json(list_all())
        return Outcome(result=result, text=render_fields(result))

    return Command(run=run, as_json=options.json)


@dataclass(frozen=True, kw_only=True)
class Names:
    """Everything that has a name, sorted."""

    recipes: Sequence[str]
    """Configurations of whole trainings."""
    environments: Sequence[str]
    """Environments."""
    collection_policies: Sequence[str]
    """Policies that collect data."""
    encoders: Sequence[str]
    """Families of encoders."""
    objectives: Sequence[str]
    """Objectives."""
    planners: Sequence[str]
    """Planners."""
    protocols: Sequence[str]
    """Evaluation protocols."""
    data_formats: Sequence[str]
    """Formats that `data import` reads."""
    export_formats: Sequence[str]
    """Formats that `data export` writes."""
    checkpoints: Sequence[str]
    """Bundled checkpoints."""
    released: Sequence[str]
    """Released models that `import` takes."""
    released_decoders: Sequence[str]
    """Released decoders that `import` takes."""


def list_all() -> Names:
    """List everything that has a name."""
    from jepawm.data.exporting import EXPORTERS
    from jepawm.data.formats import FORMATS
    from jepawm.envs import ENVIRONMENTS, POLICIES
    from jepawm.hub.load import bundled_names
    from jepawm.hub.released import DECODERS, RELEASED
    from jepawm.models import ENCODERS
    from jepawm.planning import OBJECTIVES, PLANNERS
    from jepawm.protocol import PROTOCOLS
    from jepawm.recipes import RECIPES

    return Names(
        recipes=RECIPES.names(),
        environments=ENVIRONMENTS.names(),
        collection_policies=POLICIES.names(),
        encoders=ENCODERS.names(),
        objectives=OBJECTIVES.names(),
        planners=PLANNERS.names(),
        protocols=sorted(PROTOCOLS),
        data_formats=FORMATS.names(),
        export_formats=EXPORTERS.names(),
        checkpoints=bundled_names(),
        released=sorted(RELEASED),
        released_decoders=sorted(DECODERS),
    )


@dataclass(frozen=True, kw_only=True)
class CheckOptions:
    """Options of `check`."""

    kind: tyro.conf.Positional[Literal["golden"]]
    """What to check; `jepawm check weights FILE` checks a file of a released model."""
    folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="DIR")]
    """Folder of the case files."""
    json: bool = False
    """Print the result as one JSON object."""


@dataclass(frozen=True, kw_only=True)
class CheckWeightsOptions:
    """Options of `check weights`."""

    file: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FILE")]
    """File of a model, or a folder of LeWorldModel; nothing in it is run."""
    json: bool = False
    """Print the result as one JSON object."""


def _prepare_check_weights(argv: list[str]) -> Command:
    text = (
        "Recognise a file of JEPA-WM's authors, DINO-WM, V-JEPA-2-AC or LeWorldModel, predict with it "
        "and say whether it would plan; exit code 2 if it fits no model."
    )
    options, _ = parse(CheckWeightsOptions, argv, verb="check weights", description=text, parts={})

    def run() -> Outcome:
        from jepawm.runs import check_weights

        result = to_json(check_weights(options.file))
        return Outcome(result=result, text=render_fields(result))

    return Command(run=run, as_json=options.json)


def _golden_exit_code(results: "Sequence[CaseResult]") -> int:
    from jepawm.golden import runner

    if runner.all_passed(results):
        return 0
    return 1 if runner.any_differs(results) else 2


def prepare_check(argv: list[str]) -> Command:
    """Parse `jepawm check golden DIR` and `jepawm check weights FILE`."""
    if argv[:1] == ["weights"]:
        return _prepare_check_weights(argv[1:])
    text = (
        "Reproduce numbers of the reference implementation; exit code 0 only if all hold, 1 if any "
        "differ, 2 if there are cases that cannot be compared."
    )
    options, _ = parse(CheckOptions, argv, verb="check", description=text, parts={})

    def run() -> Outcome:
        from jepawm.golden import runner

        results = runner.run(options.folder)
        return Outcome(
            result=to_json(runner.summarize(results)),
            text=runner.render(results),
            exit_code=_golden_exit_code(results),
        )

    return Command(run=run, as_json=options.json)
