"""The folder of a training run: taken, free or to be gone on with; its `experiment.json`, its origin."""

import json
import logging
import shlex
import subprocess
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path

import torch

from jepawm.checkpoint import Provenance
from jepawm.errors import UserError
from jepawm.evaluation.results import versions
from jepawm.experiment import Experiment, experiment_from_json, experiment_to_json
from jepawm.files import partial_path, write_whole
from jepawm.training.devices import ComputeConfig

_LOG = logging.getLogger(__name__)


def open_run(experiment: Experiment, out: Path, *, resume: bool, explicit: bool) -> Experiment:
    """Check the run folder and return the configuration to train.

    A run goes on with another strategy, checkpointed activations or compiled layers if these are
    set: they do not change what is computed.
    """
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is no folder; choose another --out")
    record = out / "experiment.json"
    names = {path.name for path in out.iterdir()} if out.exists() else set()
    untrained = names <= {record.name, partial_path(record).name}
    if untrained and (explicit or not resume or record.name not in names):
        if resume:
            _LOG.info("%s holds nothing to resume yet; training starts at step 0", out)
        return experiment
    if not resume:
        raise UserError(
            f"{out} already holds files; choose another --out, or --resume to go on with its run"
        )
    try:
        saved = json.loads(record.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise UserError(
            f"cannot read {record} ({error}); {out} is no run to resume, choose another --out"
        ) from error
    data = saved.get("experiment") if isinstance(saved, dict) else None
    before = experiment_from_json(data, source=str(record))
    if not explicit:
        return before
    changed = ", ".join(_differences(_decisive(before), _decisive(experiment)))
    if changed:
        raise UserError(
            f"{out} was trained with another configuration (differs in {changed}); resume it "
            "without these options, or train into another --out"
        )
    return experiment


def write_experiment(experiment: Experiment, out: Path) -> None:
    """Write `experiment.json`, making the folder where it is missing."""
    record = {
        "recipe": experiment.name,
        "seed": experiment.seed,
        **asdict(provenance()),
        "experiment": experiment_to_json(experiment),
    }
    try:
        out.mkdir(parents=True, exist_ok=True)
        write_whole(out / "experiment.json", json.dumps(record, indent=1))
    except OSError as error:
        raise UserError(f"cannot write into {out} ({error}); choose another --out") from error


def resume_command(experiment: Experiment, out: Path, *, data_root: Path, device: str) -> str:
    """Return the command that goes on with a run, in one process or, by a launcher, in several."""
    folders = ["--out", str(out), "--data-root", str(data_root)]
    return shlex.join(
        ["jepawm", "train", experiment.name, *folders, "--device", device, "--resume"]
    )


def _decisive(experiment: Experiment) -> object:
    """Return what two configurations must share for one to go on with a run of the other."""
    compute = ComputeConfig(
        precision=experiment.compute.precision, accumulate=experiment.compute.accumulate
    )
    return experiment_to_json(replace(experiment, compute=compute))


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
            ["git", *arguments],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:  # no git on this machine
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None
