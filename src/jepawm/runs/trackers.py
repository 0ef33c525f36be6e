"""`--log`: the rows of a training also go to wandb, trackio or TensorBoard.

The file of metrics stays what counts. Each tracker gets its rows once, in order; a training that
goes on gives a tracker first what it lacks, and what was logged after the last checkpoint is not
sent twice. Trackers open before any work starts, so that one that refuses costs nothing.
"""

import json
import os
import re
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Literal, Protocol, runtime_checkable

from jepawm.checkpoint import find_checkpoint, read_record
from jepawm.errors import UserError, missing_extra, plain_text, show
from jepawm.files import write_whole
from jepawm.metrics_log import read_metrics
from jepawm.records import JsonValue
from jepawm.strict_json import read_json

TrackerName = Literal["wandb", "trackio", "tensorboard"]
TRACKERS = "loggers.json"
"""Under which name a run is known to trackers, and what they got."""
_PROJECT = "jepawm"
_NAME = re.compile(r"[0-9a-f]{8}")
_EXTRA = "loggers"


@dataclass(frozen=True, kw_only=True)
class Logged:
    """What is logged: the rows of one file of a run."""

    file: Path
    """The file of metrics, in the folder of the run."""
    step: int
    """Optimiser steps that are done: rows after them will be written again."""
    config: Mapping[str, JsonValue]
    """Configuration, as JSON."""

    @property
    def part(self) -> str:
        """Return what is appended to the name of the run; empty for the training of the model."""
        return "" if self.file.name == "metrics.jsonl" else f"-{self.file.stem}"


@runtime_checkable
class Tracker(Protocol):
    """What a library for curves does here."""

    def holds(self, step: int) -> bool:
        """Say whether the row of a step is there already."""
        ...

    def append(self, step: int, row: Mapping[str, int | float]) -> None:
        """Add a row."""
        ...

    def close(self) -> None:
        """Write what is still in memory."""
        ...


class Trackers:
    """All trackers of a training; none where none was asked for."""

    def __init__(self, trackers: Mapping[TrackerName, Tracker], logged: Logged) -> None:
        """Take open trackers, and give them the rows that they lack."""
        self._trackers = trackers
        if trackers and logged.file.exists():
            for row in read_metrics(logged.file):
                if row["step"] <= logged.step:
                    self._send(int(row["step"]), row)

    def append(self, step: int, metrics: Mapping[str, float], *, seconds: float) -> None:
        """Add a row: metrics after `step` optimiser steps and `seconds` of training."""
        self._send(step, {"seconds": round(seconds, 3), **metrics})

    def _send(self, step: int, row: Mapping[str, int | float]) -> None:
        numbers = {key: value for key, value in row.items() if key != "step"}
        for name, tracker in self._trackers.items():
            if tracker.holds(step):
                continue
            try:
                tracker.append(step, numbers)
            except OSError as error:
                raise UserError(
                    f"cannot log to {name}: {error}; free some space, then go on with --resume"
                ) from error


@contextmanager
def open_trackers(names: Sequence[TrackerName], logged: Logged) -> Iterator[Trackers]:
    """Open trackers for a training, in its folder; all are closed at the end.

    Args:
        names: which; the same name twice counts once.
        logged: what is logged.
    """
    with ExitStack() as stack:
        trackers: dict[TrackerName, Tracker] = {}
        if names:
            known = _Known(logged)
            for name, opener in _OPENERS.items():  # files of ours come last
                if name in names:
                    trackers[name] = opener(logged, known)
                    stack.callback(trackers[name].close)
            known.write()
        yield Trackers(trackers, logged)


def require_trackers(names: Sequence[TrackerName]) -> None:
    """Refuse trackers whose package is not installed, before any other work."""
    for name in names:
        _IMPORTS[name]()


def saved_step(folder: Path) -> int:
    """Return the step of the checkpoint in `folder`, from which a training goes on; 0 without one."""
    return 0 if find_checkpoint(folder) is None else read_record(folder).step or 0


class _Known:
    """Under which name the training is known, and which step was sent last, kept in a file.

    A training from the start is a new run, also where one was replaced.
    """

    def __init__(self, logged: Logged) -> None:
        self._path = logged.file.with_name(TRACKERS)
        self._part = logged.file.stem
        self._all = _read_known(self._path)
        if logged.step == 0 or self._part not in self._all:
            self._all[self._part] = {"name": uuid.uuid4().hex[:8], "sent": 0}
        self.name = str(self._all[self._part]["name"])
        self.sent = int(self._all[self._part]["sent"])

    def write(self) -> None:
        self._all[self._part] = {"name": self.name, "sent": self.sent}
        write_whole(self._path, json.dumps(self._all, indent=1))


def _read_known(path: Path) -> dict[str, dict[str, str | int]]:
    if not path.exists():
        return {}
    remedy = "delete it: the training then is a new run to its loggers"
    data = read_json(path, what="file of loggers", remedy=remedy)
    known: dict[str, dict[str, str | int]] = {}
    for part, value in (data if isinstance(data, dict) else {"": None}).items():
        name, sent = (value.get("name"), value.get("sent")) if isinstance(value, dict) else (0, 0)
        if not isinstance(name, str) or not _NAME.fullmatch(name) or type(sent) is not int:
            raise UserError(f"{path} says not what loggers know of {show(part)}; {remedy}")
        known[str(part)] = {"name": name, "sent": sent}
    return known


def _import_wandb() -> ModuleType:
    try:
        import wandb
    except ImportError as error:
        raise missing_extra("--log wandb", error, package="wandb", extra=_EXTRA) from error
    return wandb


def _import_trackio() -> ModuleType:
    try:
        trackio = import_module("trackio")
        import_module("trackio.sqlite_storage")
    except ImportError as error:
        raise missing_extra("--log trackio", error, package="trackio", extra=_EXTRA) from error
    return trackio


def _import_tensorboard() -> ModuleType:
    try:
        import tensorboard  # noqa: F401 (the next line only says that something lacks)
        import torch.utils.tensorboard
    except ImportError as error:
        what, package = "--log tensorboard", "tensorboard"
        raise missing_extra(what, error, package=package, extra=_EXTRA) from error
    return torch.utils.tensorboard


_IMPORTS: Mapping[TrackerName, Callable[[], ModuleType]] = {
    "wandb": _import_wandb,
    "trackio": _import_trackio,
    "tensorboard": _import_tensorboard,
}


class _Wandb:
    """wandb, in the mode of `$WANDB_MODE`: online, offline or disabled."""

    def __init__(self, logged: Logged, known: _Known) -> None:
        wandb = _import_wandb()
        self._known = known
        folder = logged.file.parent.resolve()
        try:
            self._run = wandb.init(
                project=os.environ.get("WANDB_PROJECT", _PROJECT),
                id=known.name,
                name=f"{folder.name}{logged.part}",
                dir=str(folder),
                config=dict(logged.config),
                resume="allow",
                settings=wandb.Settings(console="off", silent=True, disable_git=True),
            )
        except (wandb.Error, OSError) as error:
            remedy = "log in by `wandb login`, or set WANDB_MODE=offline"
            raise _refused("wandb", error, remedy) from error

    def holds(self, step: int) -> bool:
        return step <= self._known.sent

    def append(self, step: int, row: Mapping[str, int | float]) -> None:
        self._run.log(dict(row), step=step)
        self._known.sent = step
        self._known.write()

    def close(self) -> None:
        self._run.finish()


class _Trackio:
    """trackio: a database of this machine, or the server that its variables name."""

    def __init__(self, logged: Logged, known: _Known) -> None:
        trackio = _import_trackio()
        project = os.environ.get("TRACKIO_PROJECT", _PROJECT)
        name = f"{logged.file.parent.resolve().name}-{known.name}{logged.part}"
        try:
            with redirect_stdout(sys.stderr):  # which is for the result
                self._run = trackio.init(
                    project=project,
                    name=name,
                    config=dict(logged.config),
                    resume="allow",
                    embed=False,
                    auto_log_cpu=False,
                    auto_log_gpu=False,
                )
                rows = trackio.sqlite_storage.SQLiteStorage.get_logs(project, name)
        except (ValueError, OSError, RuntimeError) as error:
            remedy = "see TRACKIO_DIR, TRACKIO_SERVER_URL and TRACKIO_SPACE_ID"
            raise _refused("trackio", error, remedy) from error
        self._steps = {row.get("step") for row in rows or []}

    def holds(self, step: int) -> bool:
        return step in self._steps

    def append(self, step: int, row: Mapping[str, int | float]) -> None:
        self._run.log(dict(row), step=step)

    def close(self) -> None:
        with redirect_stdout(sys.stderr):
            self._run.finish()


class _TensorBoard:
    """Event files in the folder `tensorboard` of the run."""

    def __init__(self, logged: Logged, _known: _Known) -> None:
        writer = _import_tensorboard().SummaryWriter
        folder = logged.file.parent / "tensorboard" / (logged.part.removeprefix("-") or "train")
        held = folder.is_dir() and any(folder.glob("events.out.tfevents.*"))
        self._held = logged.step if held else 0
        try:
            # Rows after the last checkpoint come again: readers forget the earlier ones.
            self._writer = writer(str(folder), purge_step=logged.step + 1)
        except OSError as error:
            raise _refused("tensorboard", error, f"see the folder {folder}") from error
        if not held:
            text = json.dumps(dict(logged.config), indent=1)
            self._writer.add_text("experiment", f"```json\n{text}\n```", 0)

    def holds(self, step: int) -> bool:
        return step <= self._held

    def append(self, step: int, row: Mapping[str, int | float]) -> None:
        for key, value in row.items():
            self._writer.add_scalar(key, value, step, new_style=True, double_precision=True)
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


_OPENERS: Mapping[TrackerName, Callable[[Logged, _Known], Tracker]] = {
    "wandb": _Wandb,
    "trackio": _Trackio,
    "tensorboard": _TensorBoard,
}


def _refused(name: TrackerName, error: Exception, remedy: str) -> UserError:
    reason = plain_text(next(iter(str(error).splitlines()), "") or type(error).__name__)
    return UserError(f"--log {name}: {reason}; {remedy}, or train without it")
