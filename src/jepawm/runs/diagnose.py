"""`jepawm diagnose`: what a trained world model gets wrong, measured and written to `diagnosis.json`."""

import json
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TypeVar

from jepawm.border import require_regular
from jepawm.checkpoint import find_checkpoint, read_record
from jepawm.contracts import Planner
from jepawm.diagnosis.results import FILE, PARTS, Diagnosis, Part
from jepawm.engine.process import tune_process
from jepawm.envs import RECORDINGS
from jepawm.errors import UserError
from jepawm.evaluation.result_files import write_json
from jepawm.evaluation.results import versions
from jepawm.files import alone
from jepawm.hub.load import LoadedModel, load
from jepawm.processes import count_processes
from jepawm.protocol import Protocol
from jepawm.records import JsonValue
from jepawm.runs.diagnosis_parts import (
    DiagnosisRules,
    Subject,
    measure_candidates,
    measure_checkpoints,
    measure_drift,
    measure_failures,
    measure_landscapes,
    obstacle,
)
from jepawm.runs.evaluate import unused_folder
from jepawm.runs.experience import Experience, Recorded, acting, recorded
from jepawm.runs.run_folder import EVALUATION, first_takes, training_files

_LOG = logging.getLogger(__name__)
Found = TypeVar("Found")


@dataclass(frozen=True, kw_only=True)
class WrittenDiagnosis:
    """What a diagnosis found, and where it is written."""

    diagnosis: Diagnosis
    """What was found."""
    written: Path
    """Path of `diagnosis.json`."""
    seconds: dict[str, float]
    """Wall seconds of each part."""


def diagnose_run(
    source: str,
    rules: DiagnosisRules,
    *,
    data_root: Path,
    planner: Planner | None = None,
    data: Path | None = None,
    out: Path | None = None,
    overwrite: bool = False,
    device: str = "cpu",
    encoder_weights: str | None = None,
) -> WrittenDiagnosis:
    """Diagnose a run or a bundled or released model; writes `diagnosis.json`.

    Args:
        source: run folder, or bundled or released name.
        rules: what is measured.
        data_root: folder of data sets.
        planner: planner of the agent whose failures are counted; None: the experiment's.
        data: recordings in place of the environment; None: the environment of the model, or the
            recordings that it was trained on.
        out: folder for the diagnosis; None is the run's own folder, or a new one below `runs`.
        overwrite: replace a diagnosis that is there.
        device: device to compute on.
        encoder_weights: where the weights of a frozen encoder are here.
    """
    if count_processes() > 1:
        raise UserError("a diagnosis is made in one process; start it without a launcher")
    tune_process()
    folder = out or _default_folder(source)
    with first_takes(folder, by=EVALUATION):
        if (folder / FILE).exists() and not overwrite:
            raise UserError(f"{folder} already holds {FILE}; give another --out, or --overwrite")
        loaded = load(source, device=device, encoder_weights=encoder_weights)
        subject = _subject(
            loaded,
            rules,
            planner=planner,
            data=data,
            data_root=data_root,
            encoder_weights=encoder_weights,
        )
        seconds: dict[str, float] = {}
        diagnosis = _diagnose(subject, seconds)
        beside = training_files(loaded.run, folder, overwrite=overwrite)
        path = write_json(folder / FILE, diagnosis.to_json(), beside=beside)
    return WrittenDiagnosis(diagnosis=diagnosis, written=path, seconds=seconds)


def _default_folder(source: str) -> Path:
    if Path(source).is_dir():
        return Path(source)
    return unused_folder(Path("runs") / f"diagnose-{source}")


def _subject(
    loaded: LoadedModel,
    rules: DiagnosisRules,
    *,
    planner: Planner | None,
    data: Path | None,
    data_root: Path,
    encoder_weights: str | None,
) -> Subject:
    """Find out where experience comes from, and check that what is asked for fits the model."""
    experiment, width = loaded.experiment, loaded.normalizer.action_dim
    if max(rules.directions) >= width > 1 and "landscape" in rules.parts:
        raise UserError(
            f"--directions {rules.directions[0]} {rules.directions[1]}: an action of {loaded.name} "
            f"has {width} numbers, 0 to {width - 1}"
        )
    experience: Experience
    if data is not None or experiment.env == RECORDINGS:
        experience = recorded(loaded, data=data, split=rules.split, data_root=data_root)
        protocol = _plan_recordings(experience, frameskip=experiment.data.frameskip)
    else:
        protocol = experiment.protocol(rules.protocol)
        experience = acting(
            loaded, loaded.make_env(), split=rules.split, seed=rules.seed, data_root=data_root
        )
    return Subject(
        loaded=loaded,
        rules=rules,
        experience=experience,
        protocol=protocol,
        planner=planner,
        data_root=data_root,
        encoder_weights=encoder_weights,
    )


def _plan_recordings(experience: Recorded, *, frameskip: int) -> Protocol:
    """Return how far plans look on recordings: as in the paper, where an episode is that long."""
    horizon = min(Protocol(name="paper").horizon, max(experience.longest(frameskip), 1))
    return Protocol(
        name="recordings",
        horizon=horizon,
        num_action_steps=horizon,
        frameskip=frameskip,
        max_env_steps=horizon * frameskip,
    )


def _diagnose(subject: Subject, seconds: dict[str, float]) -> Diagnosis:
    """Measure all parts that can be measured, and note how long each took."""
    loaded, rules = subject.loaded, subject.rules
    left_out = {part: reason for part in PARTS if (reason := obstacle(subject, part))}
    for part in rules.parts:
        if part in left_out:
            _LOG.info("%s: left out, %s", part, left_out[part])

    def measure(part: Part, function: Callable[[Subject], Found]) -> Found | None:
        if part in left_out:
            return None
        began = perf_counter()
        found = function(subject)
        seconds[part] = perf_counter() - began
        return found

    predictions = measure("predictions", measure_drift)
    if predictions is not None and predictions.drift is None:
        left_out["drift"] = "the latents do not vary: the encoder has collapsed"
    return Diagnosis(
        source=loaded.name,
        env=loaded.experiment.env,
        step=_step(loaded),
        behaviour=subject.experience.behaviour,
        split=rules.split,
        seed=rules.seed,
        frameskip=loaded.experiment.data.frameskip,
        horizon=subject.protocol.horizon,
        drift=None if predictions is None else predictions.drift,
        actions=() if predictions is None else predictions.actions,
        latents=None if predictions is None else predictions.latents,
        candidates=measure("candidates", measure_candidates),
        landscapes=tuple(measure("landscape", measure_landscapes) or ()),
        failures=measure("failures", measure_failures),
        checkpoints=measure("checkpoints", measure_checkpoints),
        left_out=left_out,
        versions={name: str(version) for name, version in versions().items()},
    )


def _step(loaded: LoadedModel) -> int | None:
    """Return the optimiser steps of a model; None if it was imported."""
    for folder in (loaded.run / "checkpoint", loaded.run):
        if find_checkpoint(folder) is not None:
            return read_record(folder).step
    return None


def check_rows(path: Path) -> None:
    """Check, before any work, that a row can be added to a file of results."""
    there = path.exists() or path.is_symlink()
    if there:
        require_regular(path, "give a file of rows, as results/diagnose.jsonl")
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(size - 1, 0))
            if file.read(1) not in (b"", b"\n"):
                raise UserError(f"{path} ends in half a line; complete or delete that line first")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.open("ab").close()
    if not there:
        path.unlink()


def append_row(done: WrittenDiagnosis, path: Path, *, command: str) -> None:
    """Add a diagnosis to a file of results, as one line of JSON with its command and its times.

    Numbers have 5 digits; landscapes and single failures, which are long, stay in `diagnosis.json`.
    """
    content = json.loads(json.dumps(done.diagnosis.to_json()), parse_float=_round)
    row: dict[str, JsonValue] = {**content, "source": Path(done.diagnosis.source).name}
    row["landscapes"] = [
        {name: one[name] for name in ("directions", "correlation", "lowest", "nearest")}
        for one in content["landscapes"]
    ]
    if content["failures"] is not None:
        row["failures"] = {k: v for k, v in content["failures"].items() if k != "failures"}
    row["seconds"] = {part: round(value, 1) for part, value in done.seconds.items()}
    row["command"] = command
    with alone(path), path.open("a", encoding="utf-8") as file:
        check_rows(path)
        file.write(json.dumps(row, allow_nan=False) + "\n")


def _round(digits: str) -> float:
    return float(f"{float(digits):.5g}")
