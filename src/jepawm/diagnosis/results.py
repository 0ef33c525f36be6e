"""The content of `diagnosis.json`: typed, and to JSON and back."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast, get_args

from cattrs.errors import BaseValidationError, ForbiddenExtraKeysError

from jepawm.diagnosis.actions import ActionStep
from jepawm.diagnosis.candidates import Candidates
from jepawm.diagnosis.checkpoints import Checkpoints
from jepawm.diagnosis.drift import Drift
from jepawm.diagnosis.failures import Failures
from jepawm.diagnosis.landscape import Landscape
from jepawm.diagnosis.latents import LatentShape
from jepawm.errors import UserError
from jepawm.records import JsonValue
from jepawm.strict_json import expect, problems, read_json, strict_converter

FILE = "diagnosis.json"
"""Where a diagnosis is written."""
Part = Literal["predictions", "candidates", "landscape", "failures", "checkpoints"]
"""What can be measured: predictions are drift, use of the actions and the shape of latents."""
PARTS: tuple[Part, ...] = get_args(Part)
"""All of it, in order."""


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """What a world model gets wrong; None and empty is what was left out."""

    source: str
    """Run, checkpoint or name of the model."""
    env: str
    """Name of the environment; `recordings` where there is none."""
    step: int | None
    """Optimiser steps that the model was trained for; None if it was not trained here."""
    behaviour: str
    """Who acts in the stretches of experience."""
    split: str
    """`val` or `test`: which tasks or recordings."""
    seed: int
    """Seed of experience, tasks and planner."""
    frameskip: int
    """Environment steps in an action block."""
    horizon: int
    """Action blocks of a plan."""
    drift: Drift | None = None
    """Errors over many steps."""
    actions: tuple[ActionStep, ...] = ()
    """Errors under own and other actions."""
    latents: LatentShape | None = None
    """How latents are spread and move."""
    candidates: Candidates | None = None
    """How the cost ranks plans."""
    landscapes: tuple[Landscape, ...] = ()
    """Cost over constant actions, of some tasks."""
    failures: Failures | None = None
    """Where failed episodes stop."""
    checkpoints: Checkpoints | None = None
    """Error and success over the checkpoints of the run."""
    left_out: Mapping[str, str]
    """Parts that are not there, and why."""
    versions: Mapping[str, str]
    """Versions that the numbers depend on."""

    def to_json(self) -> dict[str, JsonValue]:
        """Return the content of `diagnosis.json`; docs/diagnose.md explains every key."""
        return cast(dict[str, JsonValue], strict_converter().unstructure(self))


def read_diagnosis(path: Path) -> Diagnosis:
    """Read and check `diagnosis.json`."""
    again = "write it again with `jepawm diagnose RUN --overwrite`"
    content = read_json(path, what="diagnosis", remedy=again)
    content = expect(content, dict, where=path, field="the file", remedy=again)
    try:
        return strict_converter().structure(content, Diagnosis)
    except (BaseValidationError, ForbiddenExtraKeysError) as error:
        raise UserError(f"{path} is no diagnosis: {problems(error)}; {again}") from error
