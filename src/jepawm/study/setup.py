"""What a run of the study is: an experiment, and the protocol under which it is evaluated."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, TypeVar, cast

from jepawm.errors import UserError
from jepawm.experiment import Experiment, experiment_to_json
from jepawm.files import content_hash
from jepawm.proposals import NO_PROPOSALS
from jepawm.protocol import Protocol, Split
from jepawm.records import JsonValue
from jepawm.strict_json import strict_converter

Part = TypeVar("Part")
Settings = Mapping[str, object]
"""Content of fields by their dotted paths, `predictor.window`; `protocol.` is the evaluation's."""

EVALUATION = ("planner", "objective", "agent", "protocol")
"""Parts that only an evaluation reads: runs that differ in them share a trained model."""
PRETRAINED = "pretrained:"
"""What `encoder.weights` begins with where a sweep pretrains the encoder first; the method follows."""
_UNREAD = ("name", "protocols", "proposals")
_ID_LENGTH = 12


@dataclass(frozen=True, kw_only=True)
class Rules:
    """Which tasks the runs of a study solve; all runs of a folder share them."""

    num_tasks: int = 96
    """Tasks of each run."""
    task_seed: int = 0
    """Seed of tasks and planner, the same for every run."""
    split: Split = "test"
    """`test`, or `val` for choices made during development."""
    tasks_per_batch: int = 16
    """Tasks that run in lockstep."""

    def __post_init__(self) -> None:
        """Check ranges."""
        if self.num_tasks < 2:
            raise UserError(f"--episodes {self.num_tasks}; an interval needs at least 2")


@dataclass(frozen=True, kw_only=True)
class Setup:
    """An experiment and the protocol of its evaluation."""

    experiment: Experiment
    """What is trained, and how it plans."""
    protocol: Protocol
    """Rules of the episodes."""

    def with_settings(self, settings: Settings) -> "Setup":
        """Return the setup with other contents of some fields, all changed at once."""
        own = {path: value for path, value in settings.items() if not _of_protocol(path)}
        rules = {
            path.partition(".")[2]: value for path, value in settings.items() if _of_protocol(path)
        }
        return Setup(
            experiment=with_fields(self.experiment, own),
            protocol=with_fields(self.protocol, rules),
        )

    def to_json(self) -> dict[str, JsonValue]:
        """Return everything that decides the outcome, as plain JSON: parts of the experiment side by side."""
        whole = experiment_to_json(self.experiment)
        parts = {name: value for name, value in whole.items() if name not in _UNREAD}
        protocol = cast(dict[str, JsonValue], strict_converter().unstructure(self.protocol))
        return {**parts, "protocol": {k: v for k, v in protocol.items() if k != "name"}}

    def model_id(self) -> str:
        """Return a name for what training makes of it; evaluation does not count."""
        content = self.to_json()
        return content_hash({k: v for k, v in content.items() if k not in EVALUATION})[:_ID_LENGTH]

    @property
    def pretraining(self) -> str | None:
        """Return the method by which its encoder is pretrained first; None if it is not."""
        weights = getattr(self.experiment.encoder, "weights", "")
        return weights.removeprefix(PRETRAINED) if weights.startswith(PRETRAINED) else None

    def pretraining_id(self) -> str:
        """Return a name for what pretraining makes of its encoder: method, shape, frames, seed."""
        content = self.to_json()
        decisive = {name: content[name] for name in ("env", "data", "encoder", "seed")}
        return content_hash(decisive)[:_ID_LENGTH]

    def evaluation_id(self, rules: Rules) -> str:
        """Return a name for what is measured of it under some rules."""
        return content_hash({**self.to_json(), **vars(rules)})[:_ID_LENGTH]

    def for_training(self, base: Experiment) -> Experiment:
        """Return what is trained, with the planning of its base: the same for all who share it."""
        window = min(base.agent.window, self.experiment.predictor.window)
        return replace(
            self.experiment,
            planner=base.planner,
            objective=base.objective,
            agent=replace(base.agent, window=window),
            proposals=NO_PROPOSALS,
        )


def with_fields(part: Part, settings: Settings) -> Part:
    """Return nested frozen dataclasses with other contents of the fields at dotted paths."""
    groups: dict[str, dict[str, object]] = {}
    for path, value in settings.items():
        first, _, rest = path.partition(".")
        groups.setdefault(first, {})[rest] = value
    known = {one.name for one in fields(cast(Any, part))} if is_dataclass(part) else set[str]()
    for name in groups:
        if name not in known:
            raise UserError(f"{type(part).__name__} has no field {name!r}, which the axis varies")
    changes = {
        name: inner[""] if "" in inner else with_fields(getattr(part, name), inner)
        for name, inner in groups.items()
    }
    return cast(Part, replace(cast(Any, part), **changes)) if changes else part


def differences(before: JsonValue, after: JsonValue, *, path: str = "") -> list[str]:
    """List the dotted paths at which two values of JSON differ, sorted."""
    if isinstance(before, dict) and isinstance(after, dict):
        return sorted(
            line
            for key in before.keys() | after.keys()
            for line in differences(
                before.get(key), after.get(key), path=f"{path}.{key}".strip(".")
            )
        )
    return [] if before == after else [path]


def _of_protocol(path: str) -> bool:
    return path.partition(".")[0] == "protocol"
