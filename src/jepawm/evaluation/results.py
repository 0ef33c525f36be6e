"""What an evaluation found: one frozen value that everything reads, from its rows to its versions."""

import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, cast

from jepawm.contracts import Objective
from jepawm.errors import UserError
from jepawm.evaluation.metrics import Difference
from jepawm.evaluation.motion import RowMotion
from jepawm.protocol import Protocol
from jepawm.records import JsonValue

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

MODEL = "model"
"""The row of the world model, with which all others are compared."""


@dataclass(frozen=True, kw_only=True)
class RowText:
    """How a row is called where people read it."""

    line: str
    """In a line of the command line."""
    heading: str
    """In the report."""
    note: str
    """What acts."""


ROWS: Mapping[str, RowText] = {
    "do_nothing": RowText(
        line="do nothing",
        heading="Do nothing",
        note="stay at the start: how many tasks are solved for free",
    ),
    "random": RowText(
        line="random actions",
        heading="Random actions",
        note="actions drawn at random, as in the training data",
    ),
    "oracle": RowText(
        line="oracle (same planner, true dynamics)",
        heading="True dynamics",
        note="the same planner on the real simulator: what the planner allows",
    ),
    MODEL: RowText(line="model", heading="World model", note="this run"),
}
"""The rows of every evaluation, in the order in which they run. `oracle` needs a simulator; rows of
one's own come before `model`."""
MEASURED = ("seconds_per_plan", "oracle_seconds_per_plan", "fraction_of_peak")
"""Keys of `results.json` that say times; all others are the same whenever it is run again."""

NO_ORACLE = "The environment is not a simulator, so there is no row of true dynamics."
"""What readers are told where the row `oracle` is missing."""


def row_text(name: str) -> RowText:
    """Return how a row is called; a row of one's own by its name."""
    return ROWS.get(name) or RowText(line=name, heading=name, note="added to this evaluation")


@dataclass(frozen=True, kw_only=True)
class Row:
    """Success of one agent on the tasks."""

    success: float
    """Success rate as the protocol counts it, 0 to 1."""
    interval: tuple[float, float] | None = None
    """Its 95 % Wilson interval; None in a file that has none."""
    at_any_time: float | None = None
    """Rate of episodes that were at the goal after some step; None in a file that has none."""
    model_minus: Difference | None = None
    """Success of the model minus this row's on the same tasks; None in the model's own row."""
    motion: RowMotion | None = None
    """How its episodes went; None in a file that does not say."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """A planner or an objective, as it was set."""

    type: str
    """Name of its class."""
    settings: Mapping[str, JsonValue]
    """Its fields."""

    def to_json(self) -> dict[str, JsonValue]:
        """Return the type and the fields side by side."""
        return {"type": self.type, **self.settings}


@dataclass(frozen=True, kw_only=True)
class Efficiency:
    """What a plan costs."""

    gflop_per_plan: float
    """Billions of floating-point operations, without the encoding of the observation."""
    fraction_of_peak: float
    """Operations per second, over what a large matrix product reaches on this device."""


@dataclass(frozen=True, kw_only=True)
class Results:
    """The content of `results.json`; None is what older files do not hold."""

    env: str
    """Name of the environment."""
    protocol: str
    """Name of the protocol."""
    num_tasks: int
    """Number of tasks."""
    seed: int
    """Seed of the tasks and of all random numbers."""
    rows: Mapping[str, Row]
    """Every row by its name, `model` last; no `oracle` where the environment is not a simulator."""
    seconds_per_plan: float
    """Wall seconds of the model's agent for one plan of one task, encoding included."""
    oracle_seconds_per_plan: float | None = None
    """The same of the oracle; None where there is none."""
    split: str | None = None
    """`test` or `val`."""
    tasks_per_batch: int | None = None
    """Tasks that ran in lockstep."""
    tasks_sha256: str | None = None
    """Hash of the tasks."""
    dropped_candidates: int = 0
    """Candidate plans of the model whose cost was not finite."""
    searched_plans: int = 0
    """Plans of the model that were searched because their proposals were poor."""
    planner: Part | None = None
    """Planner of the model."""
    oracle_planner: Part | None = None
    """Planner of the oracle; None where there is none."""
    objective: Part | None = None
    """What plans minimise."""
    agent: Mapping[str, JsonValue] | None = None
    """`window`, `warm_start` and `bounds` of the model's agent."""
    engine: Mapping[str, JsonValue] | None = None
    """Settings of the rollout engine."""
    protocol_settings: Protocol | None = None
    """The protocol itself."""
    state_to_pixel: float | None = None
    """Pixels of a frame per unit of state; None if states are not places in the picture."""
    versions: Mapping[str, JsonValue] = field(default_factory=dict)
    """Versions that the numbers depend on."""
    efficiency: Efficiency | None = None
    """What a plan costs; None if it was not measured."""

    @property
    def model(self) -> Row:
        """Return the row of the world model."""
        return self.rows[MODEL]

    @property
    def baselines(self) -> dict[str, Row]:
        """Return all other rows."""
        return {name: row for name, row in self.rows.items() if name != MODEL}

    def to_json(self) -> dict[str, JsonValue]:
        """Return the content of `results.json`; docs/evaluate.md explains every key."""
        others = self.baselines.items()
        settings = self.protocol_settings
        return {
            "env": self.env,
            "protocol": self.protocol,
            "episodes": self.num_tasks,
            "seed": self.seed,
            "split": self.split,
            "tasks_per_batch": self.tasks_per_batch,
            "tasks_sha256": self.tasks_sha256,
            "success": self.model.success,
            "ci95": _pair(self.model.interval),
            "baselines": {name: row.success for name, row in others},
            "baselines_ci95": {name: _pair(row.interval) for name, row in others if row.interval},
            "model_minus_baseline": {
                name: difference_json(row.model_minus) for name, row in others if row.model_minus
            },
            "success_at_any_time": {
                name: row.at_any_time
                for name, row in self.rows.items()
                if row.at_any_time is not None
            },
            "motion": {name: row.motion.to_json() for name, row in self.rows.items() if row.motion},
            "seconds_per_plan": self.seconds_per_plan,
            "oracle_seconds_per_plan": self.oracle_seconds_per_plan,
            "dropped_candidates": self.dropped_candidates,
            "searched_plans": self.searched_plans,
            "planner": None if self.planner is None else self.planner.to_json(),
            "oracle_planner": (
                None if self.oracle_planner is None else self.oracle_planner.to_json()
            ),
            "objective": None if self.objective is None else self.objective.to_json(),
            "agent": None if self.agent is None else dict(self.agent),
            "engine": None if self.engine is None else dict(self.engine),
            "protocol_settings": None if settings is None else asdict(settings),
            "state_to_pixel": self.state_to_pixel,
            "versions": dict(self.versions),
            **({} if self.efficiency is None else asdict(self.efficiency)),
        }


def describe(part: object) -> Part:
    """Return the type and the fields of a planner or an objective, which must be a dataclass."""
    if not is_dataclass(part) or isinstance(part, type):
        raise UserError(
            f"{type(part).__name__} is not a dataclass, so results.json cannot hold its settings; "
            "make it a frozen dataclass"
        )
    return Part(type=type(part).__name__, settings=_settings(part))


def _settings(part: "DataclassInstance") -> dict[str, JsonValue]:
    """Return the fields of a part; objectives inside it keep their type."""
    found: dict[str, JsonValue] = {}
    for one in fields(part):
        value = getattr(part, one.name)
        if not one.metadata.get("of_model"):
            found[one.name] = cast(JsonValue, _described(value))
    return found


def _described(value: object) -> object:
    if isinstance(value, tuple):
        return [_described(one) for one in value]
    if isinstance(value, Objective) and is_dataclass(value):
        return describe(value).to_json()
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else value


def versions() -> dict[str, JsonValue]:
    """Return the versions that the numbers depend on."""
    found: dict[str, JsonValue] = {"python": platform.python_version()}
    for name in ("jepawm", "torch", "numpy"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"  # run from a source tree
    return found


def difference_json(found: Difference) -> dict[str, JsonValue]:
    """Return a difference and its interval for JSON."""
    return {"difference": found.difference, "ci95": list(found.ci95)}


def _pair(interval: Sequence[float] | None) -> list[JsonValue] | None:
    return None if interval is None else list(interval)
