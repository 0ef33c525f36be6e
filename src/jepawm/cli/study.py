"""`jepawm study list|run|report`: the paper's design choices as commands that anyone can repeat."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from jepawm.cli.choices import DeviceName, choose_device
from jepawm.cli.output import render_fields, to_json
from jepawm.cli.parsing import Command, Outcome, parse, wants_help
from jepawm.errors import UserError

_FOLDER = Path("results") / "study"


@dataclass(frozen=True, kw_only=True)
class StudyListOptions:
    """Options of `study list`."""

    json: bool = False
    """Print the result as one JSON object."""


@dataclass(frozen=True, kw_only=True)
class StudyRunOptions:
    """Options of `study run`."""

    axis: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="AXIS")]
    """What is varied; `jepawm study list` names all."""
    recipe: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RECIPE")]
    """Recipe that is changed."""
    values: str | None = None
    """Values of the axis, joined by commas; the axis's own choice if not given."""
    seeds: int = 3
    """Training seeds of each value."""
    first_seed: int = 0
    """The first of them."""
    jobs: int = 1
    """Workers at the same time; they share the cores."""
    num_tasks: Annotated[int, tyro.conf.arg(name="episodes")] = 96
    """Tasks that each run solves, the same for all."""
    task_seed: int = 0
    """Seed of the tasks and of the planner."""
    split: Literal["test", "val"] = "test"
    """`test`, or `val` for choices made during development."""
    protocol: str | None = None
    """Evaluation protocol; the recipe's first if not given."""
    noise: float = 0.0
    """Strength of the noise in the recipe's environment (distractors, light, actions), 0 to 1."""
    references: bool = True
    """Measure doing nothing, random actions and the oracle on the same tasks, too."""
    out: Path = Path("runs") / "study"
    """Folder of the study: models, evaluations, logs. Axes share it, and the models in it."""
    rows: Path | None = None
    """File that the rows are appended to; `rows/AXIS.jsonl` below --out if not given."""
    executor: Literal["processes", "local", "slurm"] = "processes"
    """Where workers run: children of this process, or jobs of submitit (`local`, `slurm`)."""
    minutes: int = 120
    """Longest time of a job on SLURM."""
    partition: str | None = None
    """Partition of SLURM."""
    data_root: Path | None = None
    """Folder for data sets; `$JEPAWM_DATA` or the user's cache folder if not given."""
    device: DeviceName = "auto"
    """Device to compute on."""
    json: bool = False
    """Print the result as one JSON object."""


@dataclass(frozen=True, kw_only=True)
class StudyReportOptions:
    """Options of `study report`."""

    files: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="FILES")] = ()
    """Files of rows; all of `results/study` if none are given."""
    out: Path = Path("runs") / "study-report"
    """Folder for `study.html` and the tables."""
    json: bool = False
    """Print the result as one JSON object."""


@dataclass(frozen=True, kw_only=True)
class StudyWorkOptions:
    """Options of `study work`."""

    path: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FILE")]
    """Job that `study run` wrote."""
    json: bool = False
    """Print the result as one JSON object."""


def prepare_study(argv: list[str]) -> Command:
    """Parse `jepawm study list|run|report|work`."""
    if not argv or argv[0] not in _VERBS:
        usage = f"jepawm study {'|'.join(_VERBS)} ... (--help after one of them lists its options)"
        if wants_help(argv):
            return Command(run=lambda: Outcome(result={"usage": usage}, text=usage), as_json=False)
        raise UserError(f"say what to do: {usage}")
    return _VERBS[argv[0]](argv[1:])


def _prepare_list(argv: list[str]) -> Command:
    text = (
        "List the axes: what each asks, its fields, its values, and recipes it means something on."
    )
    options, _ = parse(StudyListOptions, argv, verb="study list", description=text, parts={})

    def run() -> Outcome:
        from jepawm.runs.study import list_axes

        axes = list_axes()
        blocks = [f"{one.name}\n{_indented(render_fields(to_json(one)))}" for one in axes]
        return Outcome(result={"axes": [to_json(one) for one in axes]}, text="\n\n".join(blocks))

    return Command(run=run, as_json=options.json)


def _prepare_run(argv: list[str]) -> Command:
    text = (
        "Train and evaluate a recipe with each value of an axis, and append a row for each run. "
        "Killed at any moment, the same command goes on with what is there."
    )
    options, _ = parse(StudyRunOptions, argv, verb="study run", description=text, parts={})

    def run() -> Outcome:
        from jepawm.files import data_root
        from jepawm.runs.study import SweepOptions, run_study
        from jepawm.study.setup import Rules

        swept = run_study(
            options.axis,
            options.recipe,
            options=SweepOptions(
                values=_names(options.values),
                num_seeds=options.seeds,
                first_seed=options.first_seed,
                num_jobs=options.jobs,
                protocol=options.protocol,
                noise=options.noise,
                references=options.references,
                executor=options.executor,
                minutes=options.minutes,
                partition=options.partition,
                device=choose_device(options.device),
            ),
            rules=Rules(
                num_tasks=options.num_tasks, task_seed=options.task_seed, split=options.split
            ),
            out=options.out,
            rows=options.rows,
            data_root=data_root(options.data_root),
        )
        result = to_json(swept)
        return Outcome(result=result, text=render_fields(result))

    return Command(run=run, as_json=options.json)


def _prepare_report(argv: list[str]) -> Command:
    text = "Write a page that opens offline, and tables in CSV and LaTeX, from rows of a study."
    options, _ = parse(StudyReportOptions, argv, verb="study report", description=text, parts={})

    def run() -> Outcome:
        from jepawm.study.report import write_study_report

        files = options.files or tuple(sorted(_FOLDER.glob("*.jsonl")))
        if not files:
            raise UserError(
                f"there are no rows in {_FOLDER}; name files, as jepawm study report "
                "runs/study/rows/window.jsonl, or make some with jepawm study run"
            )
        result = to_json(write_study_report(files, options.out))
        return Outcome(result=result, text=render_fields(result))

    return Command(run=run, as_json=options.json)


def _prepare_work(argv: list[str]) -> Command:
    text = "Do one job of a sweep; `study run` starts this in its workers."
    options, _ = parse(StudyWorkOptions, argv, verb="study work", description=text, parts={})

    def run() -> Outcome:
        from jepawm.runs.study_work import do_work

        job = do_work(options.path)
        result = {"job": job.id, "title": job.title}
        return Outcome(result=result, text=render_fields(result))

    return Command(run=run, as_json=options.json)


def _names(text: str | None) -> tuple[str, ...]:
    if text is None:
        return ()
    names = tuple(name.strip() for name in text.split(","))
    if not all(names):
        raise UserError(f"--values {text}: a name between commas is empty; write for example 1,2,3")
    return names


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.split("\n"))


_VERBS: Mapping[str, Callable[[list[str]], Command]] = {
    "list": _prepare_list,
    "run": _prepare_run,
    "report": _prepare_report,
    "work": _prepare_work,
}
