"""What all checks of a part share: how a broken rule is reported, and how numbers are compared."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from jepawm.registry import configuration
from jepawm.types import Latent, Observation

_TOLERANCE = 1e-3  # of the largest number: sums in another order round differently


class ContractError(AssertionError):
    """A part breaks a rule of its contract."""


Require = Callable[..., None]
Runs = tuple[Tensor | Latent, Tensor | Latent]


def rules(part: object) -> Require:
    """Return what raises `ContractError` about this part where a rule does not hold."""
    name = part.__name__ if isinstance(part, type) else type(part).__name__

    def require(holds: object, rule: str, *, found: object, fix: str) -> None:
        if not holds:
            raise ContractError(f"{name}: {rule}; found {found}; to fix it: {fix}")

    return require


def require_frozen(part: object, *names: str) -> None:
    """Require a part that is its own configuration, with these attributes."""
    rules(part)(
        (lack := configuration(*names)(type(part))) is None,
        f"it is an object of a frozen dataclass with {', '.join(names)}",
        found=lack,
        fix="decorate its class by @dataclass(frozen=True, kw_only=True)",
    )


def require_finite(require: Require, values: Tensor, *, what: str) -> None:
    """Require numbers, whatever their shape."""
    require(
        values.isfinite().all(),
        f"{what} are finite",
        found="NaN or infinity",
        fix="look for divisions by 0 and for logarithms",
    )


def require_pure(require: Require, runs: Runs, *, before: Tensor, after: Tensor) -> None:
    """Require arguments that stay as they are, and two runs that are equal."""
    require(
        torch.equal(after, before),
        "arguments are not changed",
        found="other numbers in them after the call",
        fix="leave out operations in place, such as clamp_ and +=",
    )
    require(
        torch.equal(*map(joined, runs)),
        "the same arguments (and the same generator) give the same result",
        found="two calls that differ",
        fix="keep no state between calls; draw from the generator alone, never from a global one",
    )


def require_alone(require: Require, runs: Runs, *, what: str) -> None:
    """Require that members given together and one by one have equal results."""
    require(
        close(*map(joined, runs)),
        f"the result for one {what} does not depend on those beside it",
        found="another result when each is given alone",
        fix="average over nothing but its own axes",
    )


def joined(value: Tensor | Latent | Observation) -> Tensor:
    """Return all numbers of a tensor or of a struct in one row."""
    if isinstance(value, Tensor):
        return value.flatten()
    parts = [one for one in vars(value).values() if isinstance(one, Tensor)]
    return torch.cat([one.flatten().double() for one in parts])


def close(one: Tensor | np.ndarray, other: Tensor | np.ndarray) -> bool:
    """Return whether two results have one shape, and equal numbers up to rounding."""
    first, second = (torch.as_tensor(value).double() for value in (one, other))
    if first.shape != second.shape:
        return False
    scale = max(float(second.abs().max()), 1e-3) if second.numel() else 0.0
    return bool(((first - second).abs() <= _TOLERANCE * scale).all())


def shape_of(value: object) -> str:
    """Return dtype and shape in words, for messages."""
    shape = getattr(value, "shape", None)
    return (
        type(value).__name__ if shape is None else f"{getattr(value, 'dtype', '')} {tuple(shape)}"
    )


def new_generator() -> torch.Generator:
    """Return a generator with a fixed seed."""
    return torch.Generator().manual_seed(0)
