"""Rows put side by side: the runs of one axis on one recipe, value by value, paired by seed and task."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from jaxtyping import Float

from jepawm.study.differences import Estimate, estimate
from jepawm.study.known_axes import AXES
from jepawm.study.rows import StudyRow

PerTask = Literal["success", "distance"]
"""What is known of each task."""
_ORDER = {
    axis.name: {value.name: place for place, value in enumerate(axis.values)} for axis in AXES
}


@dataclass(frozen=True, kw_only=True)
class AxisTable:
    """The rows of one axis on one recipe, under one protocol, on the same tasks."""

    axis: str
    """Name of the axis."""
    recipe: str
    """Name of the recipe."""
    rows: tuple[StudyRow, ...]
    """Rows of models, one for each value and seed; the last of a file counts."""
    references: tuple[StudyRow, ...]
    """Rows of agents without a model."""
    replaced: int
    """Rows that a later one of another configuration replaces."""

    @property
    def env(self) -> str:
        """Return the name of the environment."""
        return self.rows[0].measured.env

    @property
    def protocol(self) -> str:
        """Return the name of the protocol."""
        return str(self.rows[0].measured.protocol["name"])

    @property
    def title(self) -> str:
        """Return what tells it from the other tables of its axis."""
        one = self.rows[0].measured
        return (
            f"{self.recipe} ({one.env}), protocol {self.protocol}, {one.episodes} {one.split} tasks"
        )

    @cached_property
    def values(self) -> list[str]:
        """Return the names of the values, in the axis's order."""
        known = _ORDER.get(self.axis, {})
        names = dict.fromkeys(row.value for row in self.rows)
        return sorted(names, key=lambda name: known.get(name, len(known)))

    @property
    def own(self) -> str:
        """Return the value that the others are compared with: the recipe's own, else the first."""
        return next((row.value for row in self.rows if row.own), self.values[0])

    def of(self, value: str) -> list[StudyRow]:
        """Return the rows of a value by seed."""
        return sorted((row for row in self.rows if row.value == value), key=lambda row: row.seed)

    def level(self, value: str, *, of: PerTask = "success") -> Estimate | None:
        """Return the mean of a value over seeds and tasks; None where tasks lack it."""
        found = _matrix(self.of(value), of=of)
        return None if found is None else estimate(found, resolution=_RESOLUTION[of])

    def compare(self, first: str, second: str, *, of: PerTask = "success") -> Estimate | None:
        """Return the first value minus the second, paired by seed and task; None if no seed has both."""
        one, other = ({row.seed: row for row in self.of(name)} for name in (first, second))
        seeds = sorted(one.keys() & other.keys())
        minuend = _matrix([one[seed] for seed in seeds], of=of)
        subtrahend = _matrix([other[seed] for seed in seeds], of=of)
        if minuend is None or subtrahend is None:
            return None
        return estimate(minuend - subtrahend, resolution=_RESOLUTION[of])


def axis_tables(rows: Iterable[StudyRow]) -> list[AxisTable]:
    """Sort rows into tables: those that were measured on the same tasks under the same protocol."""
    groups: dict[tuple[str, ...], dict[tuple[str, int, str], StudyRow]] = {}
    replaced: dict[tuple[str, ...], int] = {}
    for row in rows:
        one = row.measured
        name = (
            row.axis,
            row.recipe,
            "" if row.axis == "noise" else one.env,
            str(one.protocol["name"]),
            one.split,
            one.tasks_sha256,
        )
        cells = groups.setdefault(name, {})
        place = (row.value, row.seed, one.row if row.is_model else f"{one.row} {one.setup}")
        before = cells.get(place)
        replaced[name] = replaced.get(name, 0) + int(
            before is not None and before.measured.setup != one.setup
        )
        cells[place] = row
    order = {axis.name: place for place, axis in enumerate(AXES)}
    tables = [
        AxisTable(
            axis=name[0],
            recipe=name[1],
            rows=tuple(row for row in cells.values() if row.is_model),
            references=tuple(row for row in cells.values() if not row.is_model),
            replaced=replaced[name],
        )
        for name, cells in groups.items()
    ]
    known = [table for table in tables if table.rows]
    return sorted(known, key=lambda table: (order.get(table.axis, len(order)), table.recipe))


def cost_seconds(rows: Iterable[StudyRow]) -> float:
    """Return the seconds of training and evaluation behind rows, each model and evaluation once."""
    models: dict[str, float] = {}
    evaluations: dict[tuple[str, str], float] = {}
    for row in rows:
        one = row.measured
        evaluations[one.setup, one.row] = one.evaluation_seconds
        if row.is_model:
            models[one.model] = one.training_seconds
    return sum(models.values()) + sum(evaluations.values())


_RESOLUTION: dict[PerTask, float] = {"success": 1.0, "distance": 0.0}


def _matrix(rows: Sequence[StudyRow], *, of: PerTask) -> Float[np.ndarray, "seeds tasks"] | None:
    """Return what is known of each task `[S, T]`; None where something is missing."""
    if not rows:
        return None
    if of == "success":
        return np.array([[float(one) for one in row.measured.outcomes] for row in rows])
    if not all(row.measured.distances for row in rows):
        return None
    return np.array([row.measured.distances for row in rows])
