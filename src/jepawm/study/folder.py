"""The folder of a study: models, evaluations, rows; what is whole in it stays when processes die."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast, get_args

from jepawm.errors import UserError
from jepawm.experiment import experiment_from_json, experiment_to_json
from jepawm.files import remove_leftovers, write_whole
from jepawm.protocol import Protocol
from jepawm.records import JsonValue
from jepawm.strict_json import entry, expect, optional_entry, read_json, strict_converter
from jepawm.study.jobs import Job, JobKind
from jepawm.study.rows import Measured, measured_from_json, measured_to_json
from jepawm.study.setup import Rules, Setup

_MARK = "study.json"
_AGAIN = "delete it; `jepawm study run` makes it again"
_DAMAGED = "choose another --out; `jepawm study run` starts anew there"


@dataclass(frozen=True, kw_only=True)
class TrainedModel:
    """What a training left besides its run folder."""

    seconds: float
    """Seconds of the training loop, over all attempts."""
    parameters: int
    """Learned numbers of the world model."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """A job as a worker gets it."""

    job: Job
    """What to do."""
    rules: Rules
    """Which tasks are solved."""
    folder: "StudyFolder"
    """Where results go."""
    data_root: Path
    """Folder for data sets."""
    device: str
    """Device to compute on."""


@dataclass(frozen=True, kw_only=True)
class StudyFolder:
    """Where the parts of a study are."""

    root: Path
    """The folder."""

    def model(self, name: str) -> Path:
        """Return the run folder of a model."""
        return self.root / "models" / name

    def pretrained(self, setup: Setup) -> Path:
        """Return the folder of a setup's pretrained encoder."""
        return self.root / "encoders" / setup.pretraining_id()

    def rows(self, axis: str) -> Path:
        """Return the file of rows of an axis, if the user names none."""
        return self.root / "rows" / f"{axis}.jsonl"

    def result(self, job: Job) -> Path:
        """Return the file that says that a job is done, and what came of it."""
        kinds: Mapping[JobKind, str] = {
            "pretrain": "pretrained",
            "train": "trained",
            "evaluate": "evaluations",
            "references": "evaluations",
        }
        return self.root / kinds[job.kind] / f"{job.id}.json"

    def work(self, job: Job) -> Path:
        """Return the file that a worker reads."""
        return self.root / "jobs" / f"{job.file_name}.json"

    def log(self, job: Job) -> Path:
        """Return the file of what a worker says."""
        return self.root / "logs" / f"{job.file_name}.log"


def open_folder(root: Path, rules: Rules) -> StudyFolder:
    """Open the folder of a study, or make it; a folder of anything else is refused."""
    mark = root / _MARK
    wanted = cast(dict[str, JsonValue], asdict(rules))
    if root.exists() and not root.is_dir():
        raise UserError(f"{root} is not a folder; choose another --out")
    if mark.exists():
        content = read_json(mark, what="mark of a study", remedy=_DAMAGED)
        found = expect(content, dict, where=mark, field="the file", remedy=_DAMAGED)
        other = [name for name in wanted if found.get(name) != wanted[name]]
        if other:
            text = ", ".join(f"{name} {found.get(name)!r}" for name in other)
            here = ", ".join(f"{name} {wanted[name]!r}" for name in other)
            raise UserError(
                f"{root} is the folder of another study, with {text} where this one has {here}: "
                "its runs solve other tasks, so they cannot be compared; choose another --out"
            )
        return StudyFolder(root=root)
    if root.exists() and any(root.iterdir()):
        raise UserError(f"{root} holds files and is no folder of a study; choose another --out")
    root.mkdir(parents=True, exist_ok=True)
    write_whole(mark, json.dumps(wanted, indent=1))
    return StudyFolder(root=root)


def write_work(work: Work) -> Path:
    """Write the file that a worker of a job reads; returns its path."""
    job, path = work.job, work.folder.work(work.job)
    setup = job.setup
    content = {
        **{name: getattr(job, name) for name in ("kind", "id", "model", "title")},
        "recipe": setup.experiment.name,
        "experiment": experiment_to_json(setup.experiment),
        "protocol": strict_converter().unstructure(setup.protocol),
        "rules": asdict(work.rules),
        "data_root": str(work.data_root),
        "device": work.device,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(path)
    write_whole(path, json.dumps(content, indent=1))
    return path


def read_work(path: Path) -> Work:
    """Read the file of a job; the parts of other people that it names count as the user's choice."""
    content = expect(
        read_json(path, what="job of a study", remedy=_AGAIN), dict, where=path, field="the file"
    )
    texts = {
        name: entry(content, name, str, where=path)
        for name in ("kind", "id", "model", "title", "data_root", "device")
    }
    if texts["kind"] not in get_args(JobKind):
        raise UserError(f"{path}: kind is {texts['kind']!r}; {_AGAIN}")
    converter = strict_converter()
    setup = Setup(
        experiment=experiment_from_json(content.get("experiment"), source=str(path), trust=True),
        protocol=converter.structure(content.get("protocol"), Protocol),
    )
    return Work(
        job=Job(
            kind=cast(JobKind, texts["kind"]),
            id=texts["id"],
            model=texts["model"],
            title=texts["title"],
            setup=setup,
        ),
        rules=converter.structure(content.get("rules"), Rules),
        folder=StudyFolder(root=path.resolve().parent.parent),
        data_root=Path(texts["data_root"]),
        device=texts["device"],
    )


def write_trained(work: Work, trained: TrainedModel) -> None:
    """Say that a model is trained."""
    _write(work.folder.result(work.job), cast(dict[str, JsonValue], asdict(trained)))


def read_trained(folder: StudyFolder, model: str) -> TrainedModel:
    """Read what a training left."""
    return _read_trained(folder.root / "trained" / f"{model}.json")


def read_pretrained(folder: StudyFolder, setup: Setup) -> TrainedModel:
    """Read what the pretraining of a setup's encoder left."""
    return _read_trained(folder.root / "pretrained" / f"{setup.pretraining_id()}.json")


def write_measured(work: Work, measured: list[Measured]) -> None:
    """Write what an evaluation found: a row, or those of agents without a model."""
    rows: list[JsonValue] = [measured_to_json(one) for one in measured]
    _write(work.folder.result(work.job), {"rows": rows})


def read_measured(folder: StudyFolder, job: Job) -> list[Measured]:
    """Read what an evaluation found."""
    path = folder.result(job)
    content = read_json(path, what="result of an evaluation", remedy=_AGAIN)
    found = expect(content, dict, where=path, field="the file", remedy=_AGAIN)
    rows = optional_entry(found, "rows", list, where=path) or []
    return [measured_from_json(one, where=str(path)) for one in rows]


def _write(path: Path, content: Mapping[str, JsonValue]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(path)
    write_whole(path, json.dumps(content, indent=1, allow_nan=False))


def _read_trained(path: Path) -> TrainedModel:
    content = read_json(path, what="note of a training", remedy=_AGAIN)
    found = expect(content, dict, where=path, field="the file", remedy=_AGAIN)
    return TrainedModel(
        seconds=entry(found, "seconds", float, where=path),
        parameters=entry(found, "parameters", int, where=path),
    )
