"""An axis of the study: one field of an experiment, its values, and where varying it means something."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from jepawm.errors import UserError
from jepawm.study.setup import EVALUATION, Settings, Setup


@dataclass(frozen=True, kw_only=True)
class Value:
    """One value of an axis."""

    name: str
    """How the command line and the rows call it."""
    settings: Callable[[Setup], Settings]
    """Content of the axis's fields, and of those that follow, on a base."""


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One choice of design."""

    name: str
    """How the command line calls it."""
    question: str
    """What it asks, in one line."""
    fields: tuple[str, ...]
    """Dotted paths of the fields that its values set; two runs differ in nothing else."""
    values: tuple[Value, ...]
    """All values that it knows, in order."""
    default: tuple[str, ...] = ()
    """Names of the values that run if none are named; empty: all."""
    follows: tuple[str, ...] = ()
    """Fields that a rule sets by the value, where it would otherwise be invalid."""
    shared: Callable[[Setup, Sequence[Value]], Setup] = lambda base, _: base
    """Change a base alike for all values, so that each of them fits."""
    lacks: Callable[[Setup], str | None] = lambda _: None
    """Say why the axis means nothing on a base; None if it means something."""
    protocol: str | None = None
    """Protocol under which its runs are evaluated, if none is named; None: the recipe's first."""
    numeric: bool = False
    """Whether the values are numbers in order."""

    @property
    def trains(self) -> bool:
        """Return whether its values need models of their own."""
        return any(field.partition(".")[0] not in EVALUATION for field in self.fields)

    def chosen(self, names: Sequence[str]) -> list[Value]:
        """Return the values called `names`, in the axis's order; none: the default ones."""
        known = {value.name: value for value in self.values}
        for name in names:
            if name not in known:
                close = get_close_matches(name, known, n=1)
                hint = f"; did you mean {close[0]!r}?" if close else ""
                raise UserError(
                    f"unknown value {name!r} of the axis {self.name}{hint} (known: "
                    f"{', '.join(known)})"
                )
        wanted = set(names or self.default or known)
        return [value for value in self.values if value.name in wanted]


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A base with one value of an axis."""

    value: str
    """Name of the value."""
    settings: Settings
    """What the value sets."""
    setup: Setup
    """The whole."""


def variants(axis: Axis, base: Setup, *, values: Sequence[str] = ()) -> list[Variant]:
    """Return a base with each value of an axis; refused where the axis means nothing on it."""
    why = axis.lacks(base)
    if why is not None:
        raise UserError(
            f"the axis {axis.name} means nothing for {base.experiment.name}: {why}; choose another "
            "recipe, or change this one (jepawm study list says on which it works)"
        )
    chosen = axis.chosen(values)
    start = axis.shared(base, chosen)
    return [_variant(axis, start, value) for value in chosen]


def own_value(axis: Axis, found: Sequence[Variant], *, base: Setup) -> str | None:
    """Return the name of the variant that leaves its base as it was; None if none does."""
    start = axis.shared(base, axis.chosen([one.value for one in found])).to_json()
    return next((one.value for one in found if one.setup.to_json() == start), None)


def _variant(axis: Axis, start: Setup, value: Value) -> Variant:
    try:
        settings = value.settings(start)
        setup = start.with_settings(settings)
    except UserError as error:
        raise UserError(
            f"{axis.name} = {value.name} does not fit {start.experiment.name}: {error}"
        ) from error
    return Variant(value=value.name, settings=settings, setup=setup)
