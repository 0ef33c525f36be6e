"""The folder of a training run: taken, free or to be gone on with; its `experiment.json`, its origin."""

import json
import logging
import shlex
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path

import torch

from jepawm.border import require_inside
from jepawm.checkpoint import find_checkpoint, load_checkpoint, save_checkpoint
from jepawm.envs import ENVIRONMENTS
from jepawm.errors import UserError
from jepawm.evaluation.results import versions
from jepawm.experiment import Experiment, experiment_from_json, experiment_to_json, name_modules
from jepawm.files import (
    lock_file,
    partial_folders,
    partial_path,
    remove_leftovers,
    taken,
    write_together,
    write_whole,
)
from jepawm.planning.terms.composition import parts_of
from jepawm.processes import from_first
from jepawm.records import Provenance
from jepawm.strict_json import read_json
from jepawm.training.devices import ComputeConfig

TRAINING_FILES = ("experiment.json", "metrics.jsonl")
"""What tells in a run folder how the model was trained."""
KEPT = "checkpoints"
"""Folder of a run for the checkpoints that stay (`loop.keep_every`)."""
TRAINING = "training"
"""Who takes a run folder to train in it."""
EVALUATION = "evaluation"
"""Who takes a folder to write results into it; the training of a run may go on there."""
_LOG = logging.getLogger(__name__)


def open_run(
    experiment: Experiment, out: Path, *, resume: bool, explicit: bool, trust: bool = False
) -> Experiment:
    """Check the run folder and return the configuration to train.

    A run can continue with another strategy, checkpointed activations, compiled layers or more
    recoveries if these are set: they do not change what was computed.
    """
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is not a folder; choose another --out")
    path = out / "experiment.json"
    names = {file.name for file in out.iterdir()} if out.exists() else set()
    untrained = names <= {
        path.name,
        partial_path(path).name,
        lock_file(out, by=TRAINING).name,
        *(leftover.name for leftover in partial_folders(path)),
    }
    if untrained and (explicit or not resume or path.name not in names):
        if resume:
            _LOG.info("%s holds nothing to resume yet; training starts at step 0", out)
        return experiment
    if not resume:
        raise UserError(
            f"{out} already holds files; choose another --out, or --resume to continue its run"
        )
    remedy = f"{out} is not a run to resume, choose another --out"
    try:
        saved = read_json(path, what="configuration", remedy=remedy)
    except UserError as error:
        raise UserError(f"cannot read the run: {error}") from error
    data = saved.get("experiment") if isinstance(saved, dict) else None
    name_modules(experiment)
    before = experiment_from_json(data, source=str(path), trust=trust)
    if not explicit:
        return before
    changed = ", ".join(differing_fields(before, experiment))
    if changed:
        raise UserError(
            f"{out} was trained with another configuration (differs in {changed}); resume it "
            "without these options, or train into another --out"
        )
    return experiment


def write_experiment(experiment: Experiment, out: Path) -> None:
    """Write `experiment.json`, making the folder where it is missing."""
    content = {
        "recipe": experiment.name,
        "seed": experiment.seed,
        **asdict(provenance()),
        "experiment": experiment_to_json(experiment),
    }
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name in TRAINING_FILES:
            remove_leftovers(out / name)
        write_whole(out / "experiment.json", json.dumps(content, indent=1))
    except OSError as error:
        raise UserError(f"cannot write into {out} ({error}); choose another --out") from error


def resume_command(
    experiment: Experiment,
    out: Path,
    *,
    data_root: Path,
    device: str,
    trackers: Sequence[str] = (),
) -> str:
    """Return the command that goes on with a run, in one process or, by a launcher, in several."""
    logs = [word for name in trackers for word in ("--log", name)]
    folders = ["--out", str(out), "--data-root", str(data_root)]
    trust = ["--trust"] if _has_own_parts(experiment) else []
    return shlex.join(
        [
            "jepawm",
            "train",
            experiment.name,
            *folders,
            "--device",
            device,
            "--resume",
            *logs,
            *trust,
        ]
    )


def _has_own_parts(experiment: Experiment) -> bool:
    """Return whether the file of a run names modules of other people."""
    terms = parts_of(experiment.objective)
    parts = (experiment.encoder, *terms, experiment.planner, experiment.data.policy)
    own = any(not type(part).__module__.startswith("jepawm.") for part in parts)
    return own or bool(ENVIRONMENTS.module_in(experiment.env))


def differing_fields(before: Experiment, after: Experiment) -> list[str]:
    """Name the fields in which two configurations differ, so that one cannot continue the other."""
    return _differences(_decisive(before), _decisive(after))


def _decisive(experiment: Experiment) -> object:
    """Return what two configurations must share for one to continue a run of the other."""
    compute = ComputeConfig(
        precision=experiment.compute.precision,
        accumulate=experiment.compute.accumulate,
        accumulate_statistics=experiment.compute.accumulate_statistics,
    )
    loop = replace(experiment.loop, recoveries=0)
    return experiment_to_json(replace(experiment, compute=compute, loop=loop))


def _differences(before: object, after: object, path: str = "") -> list[str]:
    if isinstance(before, dict) and isinstance(after, dict):
        return [
            line
            for key in before.keys() | after.keys()
            for line in _differences(before.get(key), after.get(key), f"{path}.{key}".strip("."))
        ]
    return [] if before == after else [path]


def provenance() -> Provenance:
    """Return what this process computes with."""
    return Provenance(
        versions={name: str(value) for name, value in versions().items()},
        commit=_commit(),
        num_threads=torch.get_num_threads(),
    )


@cache
def _commit() -> str | None:
    """Return the commit of this source; None if it is not what a repository tracks."""
    if _git("ls-files", "--error-unmatch", Path(__file__).name) is None:
        return None
    return _git("rev-parse", "HEAD")


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(
            # The settings of the repository around this package may name a program to start.
            ["git", "-c", "core.fsmonitor=false", *arguments],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:  # no git on this machine
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None


def export_run(run: Path, folder: Path) -> None:
    """Write the checkpoint of a run, without its training state, to `folder`.

    The configuration and the metrics of the training go with it, for reports.
    """
    checkpoint = load_checkpoint(run / "checkpoint")
    save_checkpoint(folder, replace(checkpoint, training=None))
    write_together(training_files(run, folder, overwrite=True))


def training_files(source: Path, folder: Path, *, overwrite: bool) -> dict[Path, bytes]:
    """Read what describes the training of `source`, to be written to `folder` for its report.

    What a folder says of a training of its own stays, and what is there without `overwrite`.
    """
    if find_checkpoint(folder / "checkpoint") is not None:
        overwrite = False
    copies = {source / name: folder / name for name in TRAINING_FILES}
    for file in copies:
        require_inside(source, file, kind="run")
    return {
        copy: file.read_bytes()
        for file, copy in copies.items()
        if file.is_file() and (overwrite or not copy.exists())
    }


@contextmanager
def first_takes(folder: Path, *, by: str) -> Iterator[None]:
    """Keep what else is called `by` out of a folder while the processes of this run write there."""
    with ExitStack() as stack:
        from_first(lambda: stack.enter_context(taken(folder, by=by)))
        yield
