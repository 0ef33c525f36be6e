"""`jepawm diagnose`: what a trained model gets wrong."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast

import tyro

from jepawm.cli.choices import DeviceName, choose_device, trust_source
from jepawm.cli.evaluate import take_planner
from jepawm.cli.output import render_diagnosis
from jepawm.cli.parsing import Command, Outcome, first_name, parse
from jepawm.planning import PLANNERS

if TYPE_CHECKING:  # at run time it is imported when needed: help does not wait for torch
    from jepawm.contracts import Planner

PartName = Literal["predictions", "candidates", "landscape", "failures", "checkpoints"]


@dataclass(frozen=True, kw_only=True)
class DiagnoseOptions:
    """Options of `diagnose`."""

    source: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """Run or checkpoint folder, or the name of a bundled or released checkpoint."""
    parts: tuple[PartName, ...] = (
        "predictions",
        "candidates",
        "landscape",
        "failures",
        "checkpoints",
    )
    """What is measured."""
    steps: int | None = None
    """Action blocks of the longest predictions; 60 if not given, on recordings at most half of the
    longest episode."""
    every: tuple[int, ...] = (1, 3, 6)
    """Action blocks between two real observations, one for each curve beside the open loop."""
    stretches: int = 96
    """Stretches of experience that are predicted."""
    tasks: int = 96
    """Tasks whose candidate plans are ranked, and whose failures are counted."""
    candidates: int = 64
    """Candidates of a task that are carried out on the true dynamics, early and midway."""
    landscapes: int = 3
    """Tasks whose landscape is drawn."""
    directions: tuple[int, int] = (0, 1)
    """Numbers of an environment action that a landscape varies."""
    protocol: str = "paper"
    """Protocol of plans: `paper` (one open-loop plan) or `mpc` (replan)."""
    split: Literal["val", "test"] = "val"
    """Which tasks, or episodes of recordings."""
    seed: int = 0
    """Seed of experience, tasks and planner."""
    data: Path | None = None
    """Recordings in place of the environment, a store or a data set of any known format."""
    data_root: Path | None = None
    """Folder for data sets; `$JEPAWM_DATA` or the user's cache folder if not given."""
    out: Path | None = None
    """Folder for `diagnosis.json`; the run's own folder if not given."""
    overwrite: bool = False
    """Replace a diagnosis that is in `--out` already."""
    row: Path | None = None
    """File that gets the diagnosis as one line, as `results/diagnose.jsonl`."""
    encoder_weights: str | None = None
    """Where the weights of a frozen encoder are here: `hub`, a path, or random:SEED; where its
    training found them if not given."""
    device: DeviceName = "auto"
    """Device to compute on."""
    trust: bool = False
    """Run code of other people that only the run names: parts given as my_module:MyThing."""
    json: bool = False
    """Print the result as one JSON object."""


def prepare_diagnose(argv: list[str]) -> Command:
    """Parse `jepawm diagnose`."""
    trust_source(first_name(argv, known=[]), trust="--trust" in argv)  # the planner may need it
    parts, rest = take_planner(argv)
    options, parsed = parse(
        DiagnoseOptions,
        rest,
        verb="diagnose",
        description="Measure what a model gets wrong: drift, use of the actions, latents, ranking of "
        "plans, where failures stop. --planner NAME and --preset NAME choose who plans the episodes "
        f"that fail: {', '.join(PLANNERS.names())}.",
        parts=parts,
    )

    def run() -> Outcome:
        from jepawm.files import data_root
        from jepawm.runs import DiagnosisRules, append_row, check_rows, diagnose_run

        trust_source(options.source, trust=options.trust)
        if options.row is not None:
            check_rows(options.row)
        done = diagnose_run(
            options.source,
            DiagnosisRules(
                parts=options.parts,
                num_steps=options.steps,
                every=options.every,
                num_stretches=options.stretches,
                num_tasks=options.tasks,
                num_candidates=options.candidates,
                num_landscapes=options.landscapes,
                directions=options.directions,
                protocol=options.protocol,
                split=options.split,
                seed=options.seed,
            ),
            data_root=data_root(options.data_root),
            planner=cast("Planner | None", parsed.get("planner")),
            data=options.data,
            out=options.out,
            overwrite=options.overwrite,
            device=choose_device(options.device),
            encoder_weights=options.encoder_weights,
        )
        if options.row is not None:
            append_row(done, options.row, command=_command(argv))
        return Outcome(
            result={**done.diagnosis.to_json(), "written": done.written, "seconds": done.seconds},
            text=render_diagnosis(done.diagnosis, done.written),
        )

    return Command(run=run, as_json=options.json)


def _command(argv: list[str]) -> str:
    """Return the command line without the folders of this machine."""
    return " ".join(["jepawm", "diagnose", *(word.rsplit("/", 1)[-1] for word in argv)])
