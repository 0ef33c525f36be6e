"""Objectives that are added and weighted: a weighted sum of objectives is an objective."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Annotated, Protocol, runtime_checkable

import tyro
from jaxtyping import Float
from torch import Tensor

from jepawm.contracts import Objective
from jepawm.errors import UserError
from jepawm.planning.terms.heads import Heads, bind
from jepawm.types import Latent


@runtime_checkable
class Composable(Protocol):
    """Give an objective `+`, `-` and multiplication by numbers; what comes out is an objective."""

    def __call__(
        self, predicted: Latent, goal: Latent, actions: Float[Tensor, "B K H A"]
    ) -> Float[Tensor, "B K"]:
        """Return costs `[B, K]` of latents `[B, K, H]` for goals `[B]`."""
        ...

    def __add__(self, other: object) -> "WeightedSum":
        """Add another cost."""
        return weighted_sum((1.0, self), (1.0, other))

    def __sub__(self, other: object) -> "WeightedSum":
        """Take another cost away."""
        return weighted_sum((1.0, self), (-1.0, other))

    def __mul__(self, weight: object) -> "WeightedSum":
        """Let the cost count `weight` times."""
        return weighted_sum((weight, self))

    def __rmul__(self, weight: object) -> "WeightedSum":
        """Let the cost count `weight` times."""
        return weighted_sum((weight, self))

    def __truediv__(self, divisor: float | int) -> "WeightedSum":
        """Let the cost count `1 / divisor` times."""
        if divisor == 0:
            raise UserError(f"{type(self).__name__} is divided by 0; give another weight")
        return weighted_sum((1.0 / divisor, self))

    def __neg__(self) -> "WeightedSum":
        """Turn what costs into what pays."""
        return weighted_sum((-1.0, self))


@dataclass(frozen=True, kw_only=True)
class WeightedSum(Composable):
    """Add costs up, each with its weight; `0.8 * LatentDistance() + 0.2 * ActionSize()` is one."""

    terms: Annotated[tuple[Objective, ...], tyro.conf.Suppress]
    """The objectives."""
    weights: Annotated[tuple[float, ...], tyro.conf.Suppress]
    """A weight for each; a term of weight 0 is not evaluated."""

    def __post_init__(self) -> None:
        """Refuse weights that leave nothing to minimise."""
        if len(self.weights) != len(self.terms):
            raise UserError(
                f"objective.weights has {len(self.weights)} numbers for {len(self.terms)} terms; "
                "give one for each"
            )
        if not all(math.isfinite(weight) for weight in self.weights):
            raise UserError(f"objective.weights = {self.weights}; give finite numbers")
        if not any(self.weights):
            raise UserError(
                "all weights of the objective are 0, so that every plan would cost the same; give "
                "a term another weight"
            )

    @property
    def needs_goal(self) -> bool:
        """Return whether a term that counts compares with a goal."""
        return any(needs_goal(term) for weight, term in self._weighted())

    def with_heads(self, heads: Heads) -> "WeightedSum":
        """Return the sum of the terms with the heads that they read."""
        return replace(self, terms=tuple(bind(term, heads) for term in self.terms))

    def __call__(
        self, predicted: Latent, goal: Latent, actions: Float[Tensor, "B K H A"]
    ) -> Float[Tensor, "B K"]:
        """Return costs `[B, K]` of latents `[B, K, H]` for goals `[B]`."""
        first, *others = [
            weight * term(predicted, goal, actions) for weight, term in self._weighted()
        ]
        return sum(others, start=first)

    def _weighted(self) -> list[tuple[float, Objective]]:
        return [pair for pair in zip(self.weights, self.terms, strict=True) if pair[0]]


def weighted_sum(*parts: tuple[object, object]) -> WeightedSum:
    """Return the sum of objectives with their weights: sums inside it are opened, equal terms joined."""
    weights: list[float] = []
    terms: list[Objective] = []
    for weight, term in _opened(parts):
        if term not in terms:
            terms.append(term)
            weights.append(weight)
            continue
        index = terms.index(term)
        before, weights[index] = weights[index], weights[index] + weight
        if before and not weights[index]:
            raise UserError(
                f"the weights of {type(term).__name__} cancel out ({before:g} and {weight:g}); "
                "leave the term out, or change one of them"
            )
    return WeightedSum(terms=tuple(terms), weights=tuple(weights))


def needs_goal(objective: Objective) -> bool:
    """Return whether an objective compares with a goal; one that does not say so does."""
    return bool(getattr(objective, "needs_goal", True))


def goal_kinds(objective: Objective) -> frozenset[str]:
    """Return what kinds of goals an objective compares with: `picture`, `text`, both or none."""
    if not needs_goal(objective):
        return frozenset()
    if isinstance(objective, WeightedSum):
        terms = [
            term for weight, term in zip(objective.weights, objective.terms, strict=True) if weight
        ]
        return frozenset[str]().union(*map(goal_kinds, terms))
    inner = getattr(objective, "of", None)
    if isinstance(inner, Objective):
        return goal_kinds(inner)
    return frozenset({str(getattr(objective, "goal_kind", "picture"))})


def parts_of(objective: object) -> Iterator[object]:
    """Yield an objective and all objectives inside it."""
    yield objective
    if not is_dataclass(objective) or isinstance(objective, type):
        return
    for one in fields(objective):
        value = getattr(objective, one.name)
        for inner in value if isinstance(value, tuple) else (value,):
            if is_dataclass(inner) and isinstance(inner, Objective):
                yield from parts_of(inner)


def _opened(parts: Sequence[tuple[object, object]]) -> Iterator[tuple[float, Objective]]:
    for weight, term in parts:
        if not isinstance(term, Objective):
            raise UserError(f"{term!r} is added to an objective; give another objective")
        if isinstance(weight, bool) or not isinstance(weight, int | float):
            raise UserError(f"an objective is multiplied by {weight!r}; give a number")
        if isinstance(term, WeightedSum):
            yield from ((weight * w, one) for w, one in zip(term.weights, term.terms, strict=True))
        else:
            yield float(weight), term
