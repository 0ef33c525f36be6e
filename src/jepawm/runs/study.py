"""`jepawm study`: run an axis in workers, the work of each, and the report of its rows."""

import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import cast

from jepawm.envs import RECORDINGS
from jepawm.errors import UserError
from jepawm.evaluation.results import MODEL
from jepawm.experiment import Experiment
from jepawm.files import taken
from jepawm.proposals import NO_PROPOSALS
from jepawm.recipes import RECIPES
from jepawm.study.axes import Axis
from jepawm.study.executors import ExecutorName, Resources, start_with
from jepawm.study.folder import (
    Work,
    open_folder,
    read_measured,
    write_work,
)
from jepawm.study.jobs import Cell, Job, Plan, plan_sweep
from jepawm.study.known_axes import AXES, find_axis
from jepawm.study.rows import Measured, StudyRow, append_rows, read_rows
from jepawm.study.setup import Rules, Setup
from jepawm.study.sweep import require_done, run_jobs
from jepawm.study.values import noisy_env

SWEEP = "sweep"
"""Who takes the folder of a study to run jobs in it."""
MOST_SEEDS = 100
"""Training seeds of a sweep at most."""


@dataclass(frozen=True, kw_only=True)
class SweepOptions:
    """How a sweep runs."""

    values: Sequence[str] = ()
    """Values of the axis; none: its own choice."""
    num_seeds: int = 3
    """Training seeds."""
    first_seed: int = 0
    """The first of them."""
    num_jobs: int = 1
    """Workers at the same time."""
    protocol: str | None = None
    """Protocol of the evaluations; None: the axis's."""
    noise: float = 0.0
    """Strength of the noise in the recipe's environment, 0 to 1; 0: none."""
    references: bool = True
    """Whether doing nothing, random actions and the oracle are measured, too."""
    executor: ExecutorName = "processes"
    """Where workers run."""
    minutes: int = 120
    """Longest time of a job on SLURM."""
    partition: str | None = None
    """Partition of SLURM."""
    device: str = "cpu"
    """Device to compute on."""


@dataclass(frozen=True, kw_only=True)
class SweptAxis:
    """What a sweep did."""

    axis: str
    """Name of the axis."""
    recipe: str
    """On which recipe."""
    rows: Path
    """File of the rows."""
    new_rows: int
    """Rows that this sweep appended."""
    all_rows: int
    """Rows that the sweep asks for; those that are not new were there."""
    models: int
    """Models that its values and seeds need; rows that differ in planning alone share one."""
    minutes: float
    """Wall minutes of this call."""
    cpu_minutes: float
    """Minutes of training and evaluation behind all its rows, each counted once."""


def run_study(
    axis_name: str,
    recipe: str,
    *,
    options: SweepOptions,
    rules: Rules,
    out: Path,
    rows: Path | None,
    data_root: Path,
) -> SweptAxis:
    """Train and evaluate every value and seed of an axis on a recipe; appends a row for each.

    What is there already is kept: killed at any moment, the same call goes on with it.

    Args:
        axis_name: name of the axis.
        recipe: name of the recipe.
        options: values, seeds, and how the sweep runs.
        rules: which tasks are solved.
        out: folder of the study: models, evaluations, logs.
        rows: file of the rows; None: below `out`.
        data_root: folder for data sets.
    """
    began = perf_counter()
    plan = prepare_sweep(axis_name, recipe, options=options, rules=rules)
    folder = open_folder(out, rules)
    file = rows or folder.rows(plan.axis.name)
    if file.exists():
        read_rows(file)  # what is wrong with it is said before any work
    found: dict[str, list[Measured]] = {}
    appended: list[StudyRow] = []

    def write(job: Job) -> Path:
        return write_work(
            Work(job=job, rules=rules, folder=folder, data_root=data_root, device=options.device)
        )

    def on_done(job: Job) -> None:
        if job.kind in ("evaluate", "references"):
            found[job.id] = read_measured(folder, job)
            new = _rows_of(plan, job, found[job.id], rules=rules, options=options)
            appended.extend(append_rows(file, new))

    start = start_with(options.executor, folder=out / "submitit", resources=_resources(options))
    try:
        with taken(out, by=SWEEP):
            failures = run_jobs(
                plan.jobs,
                folder=folder,
                start=start,
                write=write,
                slots=options.num_jobs,
                on_done=on_done,
                title=f"study {plan.axis.name} {recipe}",
            )
    except KeyboardInterrupt as stop:
        raise UserError("stopped; what is done is kept, and the same command goes on") from stop
    require_done(failures, rows=file)
    measured = {one.setup + one.row: one for several in found.values() for one in several}
    models = {one.model: one.training_seconds for one in measured.values() if one.row == MODEL}
    seconds = sum(models.values()) + sum(one.evaluation_seconds for one in measured.values())
    return SweptAxis(
        axis=plan.axis.name,
        recipe=recipe,
        rows=file,
        new_rows=len(appended),
        all_rows=len(plan.cells) + sum(len(found[job.id]) for job in _references(plan)),
        models=len(models),
        minutes=(perf_counter() - began) / 60,
        cpu_minutes=seconds / 60,
    )


def prepare_sweep(axis_name: str, recipe: str, *, options: SweepOptions, rules: Rules) -> Plan:
    """Check what a sweep is asked to do, and list its jobs and rows."""
    axis = find_axis(axis_name)
    if not 1 <= options.num_seeds <= MOST_SEEDS:
        raise UserError(f"--seeds {options.num_seeds}; give 1 to {MOST_SEEDS}")
    if options.num_jobs < 1:
        raise UserError(f"--jobs {options.num_jobs}; give at least 1")
    experiment = replace(cast(Experiment, RECIPES.get(recipe)), name=recipe, proposals=NO_PROPOSALS)
    if experiment.env == RECORDINGS:
        raise UserError(
            f"the recipe {recipe} trains on recordings and has no environment to act in, so no "
            "success can be measured; choose a recipe of an environment"
        )
    if not 0.0 <= options.noise <= 1.0:
        raise UserError(f"--noise {options.noise}; give 0 (none) to 1")
    base = Setup(
        experiment=replace(experiment, env=noisy_env(experiment.env, options.noise)),
        protocol=experiment.protocol(
            options.protocol or axis.protocol or experiment.protocols[0].name
        ),
    )
    return plan_sweep(
        axis,
        base,
        recipe=recipe,
        values=options.values,
        seeds=range(options.first_seed, options.first_seed + options.num_seeds),
        rules=rules,
        references=options.references,
    )


def _references(plan: Plan) -> list[Job]:
    return [job for job in plan.jobs if job.kind == "references"]


def _rows_of(
    plan: Plan, job: Job, measured: Sequence[Measured], *, rules: Rules, options: SweepOptions
) -> list[StudyRow]:
    """Return the rows that a finished job gives, one for each value and seed that it serves."""
    row = partial(_row, plan, rules=rules, options=options)
    if job.kind == "references":
        cells = [
            Cell(value=one.row, seed=job.setup.experiment.seed, settings={}, own=False, job=job.id)
            for one in measured
        ]
        return [row(cell, one) for cell, one in zip(cells, measured, strict=True)]
    return [row(cell, measured[0]) for cell in plan.cells if cell.job == job.id]


def _row(
    plan: Plan, cell: Cell, measured: Measured, *, rules: Rules, options: SweepOptions
) -> StudyRow:
    words = ["jepawm", "study", "run", plan.axis.name, plan.recipe]
    if measured.row == MODEL:
        words += ["--values", cell.value]
    words += ["--seeds", "1", "--first-seed", str(cell.seed)]
    words += ["--protocol", str(measured.protocol["name"]), "--episodes", str(rules.num_tasks)]
    words += ["--task-seed", str(rules.task_seed), "--split", rules.split]
    words += ["--noise", f"{options.noise:g}"] if options.noise else []
    return StudyRow(
        axis=plan.axis.name,
        value=cell.value,
        recipe=plan.recipe,
        seed=cell.seed,
        settings=cell.settings,
        own=cell.own,
        measured=measured,
        command=shlex.join(words),
    )


def _resources(options: SweepOptions) -> Resources:
    return Resources(
        num_threads=max(1, (os.cpu_count() or 1) // options.num_jobs),
        minutes=options.minutes,
        partition=options.partition,
    )


@dataclass(frozen=True, kw_only=True)
class AxisSummary:
    """What `jepawm study list` says of an axis."""

    name: str
    """Name of the axis."""
    question: str
    """What it asks."""
    fields: Sequence[str]
    """What its values set."""
    values: Sequence[str]
    """Values that it knows."""
    default: Sequence[str]
    """Values that run if none are named."""
    trains: bool
    """Whether each value needs models of its own."""
    recipes: Sequence[str]
    """Built-in recipes with data of their own on which it means something."""


def list_axes() -> list[AxisSummary]:
    """Describe every axis."""
    return [
        AxisSummary(
            name=axis.name,
            question=axis.question,
            fields=axis.fields,
            values=[value.name for value in axis.values],
            default=[value.name for value in axis.chosen(())],
            trains=axis.trains,
            recipes=_bases_of(axis),
        )
        for axis in AXES
    ]


def _bases_of(axis: Axis) -> list[str]:
    """List built-in recipes that collect their data and on which an axis means something."""
    found = []
    for name in filter(RECIPES.is_built_in, RECIPES.names()):
        experiment = cast(Experiment, RECIPES.get(name))
        if experiment.env != RECORDINGS and experiment.data.store is None:
            base = Setup(experiment=experiment, protocol=experiment.protocols[0])
            if axis.lacks(base) is None:
                found.append(name)
    return found
