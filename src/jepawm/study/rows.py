"""Rows of the study: one for each run, in files of lines that survive whoever writes them."""

import json
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TypeVar, cast

import cattrs
from cattrs.errors import BaseValidationError, ForbiddenExtraKeysError

from jepawm.errors import UserError, plain_text
from jepawm.evaluation.results import MODEL
from jepawm.files import alone, write_whole
from jepawm.records import JsonValue
from jepawm.strict_json import parse_json, problems, read_text, strict_converter

Kind = TypeVar("Kind")
BROKEN = ".broken"
"""What is added to the name of a file to keep a broken last line of it."""
_LOG = logging.getLogger(__name__)
_AGAIN = "delete this line; `jepawm study run` measures it again"


@dataclass(frozen=True, kw_only=True)
class Measures:
    """What an evaluation measures besides success, so that a difference shows where success is full."""

    final_distance: float | None
    """Mean distance to the goal after the last step, in units of the state; None without states."""
    blocks_to_success: float | None
    """Mean action blocks until a task is at its goal for the first time; one that never is counts one
    more than the episode has."""
    error_over_copying: tuple[float, ...] = ()
    """Squared latent error of predictions 1, 2, ... blocks ahead, over that of copying the last
    latent, on validation data; empty for agents without a model."""
    effective_rank: float | None = None
    """Directions that the latents use; None for agents without a model."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What an agent did on the tasks of a study."""

    row: str
    """`model`, or `do_nothing`, `random`, `oracle`."""
    env: str
    """Name of the environment."""
    success: float
    """Success rate as the protocol counts it, 0 to 1."""
    ci95: tuple[float, float]
    """Its 95 % Wilson interval, over tasks alone."""
    measures: Measures
    """What does not saturate."""
    outcomes: str
    """Success of each task, `1` or `0`."""
    distances: tuple[float, ...]
    """Final distance of each task; empty without states."""
    episodes: int
    """Number of tasks."""
    task_seed: int
    """Seed of the tasks and of the planner."""
    split: str
    """`test` or `val`."""
    tasks_sha256: str
    """Hash of the tasks."""
    protocol: dict[str, JsonValue]
    """The protocol, all numbers of it."""
    setup: str
    """Hash of everything that decides the row: configuration, seed, protocol, tasks."""
    model: str
    """Hash of what was trained; rows that share a model have the same."""
    parameters: int
    """Learned numbers of the world model."""
    training_seconds: float
    """Seconds of its training loop."""
    evaluation_seconds: float
    """Seconds of this evaluation."""
    versions: dict[str, str]
    """Versions that the figures depend on."""
    commit: str | None
    """Commit of this library; None outside a repository."""
    num_threads: int
    """CPU threads of the process."""


MEASURED_TIMES = ("training_seconds", "evaluation_seconds")
"""Keys that say times; all others are the same whenever a row is measured again."""


@dataclass(frozen=True, kw_only=True)
class StudyRow:
    """One run of an axis."""

    axis: str
    """Name of the axis."""
    value: str
    """Name of its value."""
    recipe: str
    """Recipe that it changes."""
    seed: int
    """Seed of the training."""
    settings: dict[str, JsonValue]
    """What the value sets, by dotted paths."""
    own: bool
    """Whether the value leaves the recipe as it is; the others are compared with it."""
    measured: Measured
    """What was measured."""
    command: str
    """What measures this row again."""

    @property
    def key(self) -> tuple[str, str, str, int, str, str]:
        """Return what no two rows of a file share."""
        one = self.measured
        return (self.axis, self.value, self.recipe, self.seed, one.row, one.setup)

    @property
    def is_model(self) -> bool:
        """Return whether a world model acted."""
        return self.measured.row == MODEL


def row_to_json(row: StudyRow) -> dict[str, JsonValue]:
    """Return a row as one flat object of JSON; `row` stands in it only where no model acted."""
    whole = cast(dict[str, JsonValue], _CONVERTER.unstructure(row))
    measured = cast(dict[str, JsonValue], whole.pop("measured"))
    if measured["row"] == MODEL:
        del measured["row"]
    command = whole.pop("command")
    return {**whole, **measured, "command": command}


def row_from_json(content: object, *, where: str) -> StudyRow:
    """Rebuild a row; every field is checked."""
    if not isinstance(content, dict):
        raise UserError(f"{where} is no object of JSON, so no row of a study; {_AGAIN}")
    own = {one.name for one in fields(StudyRow)}
    measured = {"row": MODEL} | {key: value for key, value in content.items() if key not in own}
    whole = {key: value for key, value in content.items() if key in own}
    return _structured({**whole, "measured": measured}, StudyRow, where=where)


def measured_from_json(content: object, *, where: str) -> Measured:
    """Rebuild what a worker measured."""
    return _structured(content, Measured, where=where)


def measured_to_json(measured: Measured) -> dict[str, JsonValue]:
    """Return what a worker measured as JSON."""
    return cast(dict[str, JsonValue], _CONVERTER.unstructure(measured))


def read_rows(path: Path) -> list[StudyRow]:
    """Read the rows of a file; a broken last line is taken out of it, kept beside it and told."""
    _mend(path)
    rows = []
    lines = read_text(path, what="file of rows", remedy=_AGAIN).split("\n")
    for number, line in enumerate(lines, start=1):
        if line.strip():
            where = f"{path}:{number}"
            rows.append(row_from_json(parse_json(line, where=where, remedy=_AGAIN), where=where))
    return rows


def append_rows(path: Path, rows: Sequence[StudyRow]) -> list[StudyRow]:
    """Append the rows that a file does not have yet; returns them.

    The file is locked meanwhile, and what is appended is on the disk afterwards.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with alone(path):
        known = {row.key for row in read_rows(path)} if path.exists() else set()
        new = {row.key: row for row in rows if row.key not in known}
        text = "".join(f"{json.dumps(row_to_json(row), allow_nan=False)}\n" for row in new.values())
        if text:
            with path.open("a", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
    return list(new.values())


def _mend(path: Path) -> None:
    """Take a broken last line out of a file of rows; one that only lacks its end is completed."""
    text = read_text(path, what="file of rows", remedy=_AGAIN)
    whole, newline, last = text.rpartition("\n")
    if not last:
        return
    try:
        row_from_json(parse_json(last, where=str(path)), where=str(path))
        mended = f"{text}\n"
    except UserError:
        mended = f"{whole}{newline}"
        aside = path.with_name(path.name + BROKEN)
        with aside.open("a", encoding="utf-8") as file:
            file.write(f"{last}\n")
        _LOG.warning(
            "%s ended in a broken line, as a killed writer leaves one; it is taken out and kept in "
            "%s, and its run is measured again by `jepawm study run`",
            plain_text(str(path)),
            aside.name,
        )
    write_whole(path, mended)


def _structured(content: object, kind: type[Kind], *, where: str) -> Kind:
    try:
        return _CONVERTER.structure(content, kind)
    except (BaseValidationError, ForbiddenExtraKeysError) as error:
        raise UserError(
            f"{where} is no row of this version: {problems(error)}; {_AGAIN}"
        ) from error


def _converter() -> cattrs.Converter:
    converter = strict_converter()
    converter.register_structure_hook_func(
        lambda kind: kind == JsonValue, lambda value, _: cast(object, value)
    )
    return converter


_CONVERTER = _converter()
