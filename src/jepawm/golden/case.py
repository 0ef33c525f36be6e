"""One golden case: arrays and settings of a file, and comparisons at the file's own tolerance.

A file is an `.npz` that loads without pickling; its array `meta_json` holds the settings
(`hyper`), the `tolerance` and notes, every other array is an input or an expected output.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from jepawm.border import load_npz, require_inside
from jepawm.errors import UserError, show
from jepawm.strict_json import parse_json

Kind = TypeVar("Kind", bool, int, float, str, list, dict)


class GoldenError(Exception):
    """Say why a golden case cannot be compared: a file that is malformed or a missing entry."""


@dataclass(frozen=True, kw_only=True)
class GoldenCase:
    """Inputs, settings and expected outputs of one file."""

    name: str
    """The file's name without its ending."""
    hyper: dict[str, object]
    """Constructor sizes and options; read them with `option`."""
    meta: dict[str, object]
    """The whole JSON object of the file."""
    arrays: dict[str, np.ndarray]
    """Every array of the file, by its flat name such as `T1/z_in`."""
    tolerance: dict[str, float]
    """The file's own tolerances (`atol`, `rtol`, `loss_rtol`, ...); all 0 where it says exact."""

    @property
    def atol(self) -> float:
        """Return the absolute tolerance; 0 where the file names only a relative one."""
        return self.tolerance.get("atol", 0.0)

    @property
    def rtol(self) -> float:
        """Return the relative tolerance; 0 where the file names only an absolute one."""
        return self.tolerance.get("rtol", 0.0)

    def allowance(self, key: str) -> float:
        """Return a tolerance with a name of its own, such as `frame_65_max_level`."""
        if key not in self.tolerance:
            known = ", ".join(sorted(self.tolerance))
            raise GoldenError(f"{self.name}: tolerance {key!r} is missing (there are: {known})")
        return self.tolerance[key]

    def option(self, key: str, kind: type[Kind]) -> Kind:
        """Return the setting `key` of `hyper` as `kind` (a whole number may serve as a float)."""
        if key not in self.hyper:
            known = ", ".join(sorted(self.hyper))
            raise GoldenError(f"{self.name}: hyper {key!r} is missing (there are: {known})")
        value = self.hyper[key]
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise GoldenError(f"{self.name}: hyper {key!r} = {show(value)} is not {kind.__name__}")
        return value

    def optional(self, key: str, kind: type[Kind]) -> Kind | None:
        """Return the setting `key` as `kind`; None where the file leaves it out or null."""
        if key not in self.hyper or self.hyper[key] is None:
            return None
        return self.option(key, kind)

    def array(self, key: str) -> np.ndarray:
        """Return the array `key`."""
        if key not in self.arrays:
            raise GoldenError(f"{self.name}: array {key!r} is missing")
        return self.arrays[key]

    def tensor(self, key: str) -> Tensor:
        """Return the array `key` as a tensor of its own."""
        return torch.from_numpy(self.array(key).copy())

    def state(self, group: str) -> dict[str, Tensor]:
        """Return the weights `state/<group>/<name>` by their names."""
        prefix = f"state/{group}/"
        return {
            key.removeprefix(prefix): self.tensor(key)
            for key in self.arrays
            if key.startswith(prefix)
        }


def load_case(path: Path) -> GoldenCase:
    """Read one file without unpickling.

    Raises:
        GoldenError: if it is not a golden file; the message says why.
    """
    try:
        require_inside(path.parent, path, kind="folder")
        arrays = load_npz(path)
    except UserError as error:
        raise GoldenError(str(error)) from error
    if "meta_json" not in arrays:
        raise GoldenError(f"{path.name} has no array 'meta_json'")
    text = arrays.pop("meta_json")
    if text.size != 1 or text.dtype.kind != "U":
        raise GoldenError(f"{path.name}: meta_json is {text.dtype} {text.shape}, not a text")
    try:
        meta = parse_json(str(text.item()), where=f"{path.name}: meta_json")
    except UserError as error:
        raise GoldenError(str(error)) from error
    if not isinstance(meta, dict) or not isinstance(meta.get("hyper"), dict):
        raise GoldenError(f"{path.name}: meta_json has no object 'hyper'")
    return GoldenCase(
        name=path.stem,
        hyper=meta["hyper"],
        meta=meta,
        arrays=arrays,
        tolerance=_tolerance(meta, path.name),
    )


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The outcome of comparing one result with its expected values."""

    name: str
    """What was compared."""
    max_error: float
    """Largest absolute difference; infinite where something is not finite that should be."""
    excess: float
    """Largest ratio of the difference to what is allowed; at most 1 passes."""

    @property
    def passed(self) -> bool:
        """Return whether every value is within its tolerance."""
        return self.excess <= 1.0


Values = Tensor | np.ndarray | np.generic | float | int | bool


def compare(name: str, got: Values, expected: Values, *, atol: float, rtol: float) -> Comparison:
    """Compare `got` with `expected` at `|got - expected| <= atol + rtol |expected|`.

    Not-a-number and infinity match only themselves.

    Raises:
        GoldenError: if the shapes differ.
    """
    left, right = _pair(name, got, expected)
    if left.size == 0:
        return Comparison(name=name, max_error=0.0, excess=0.0)
    finite = np.isfinite(left) & np.isfinite(right)
    same = (left == right) | (np.isnan(left) & np.isnan(right))
    error = np.where(same, 0.0, np.inf)
    error[finite] = np.abs(left[finite] - right[finite])
    allowed = np.full_like(error, atol)
    allowed[finite] += rtol * np.abs(right[finite])
    ratio = np.where(error == 0.0, 0.0, np.inf)
    positive = allowed > 0.0
    ratio[positive] = error[positive] / allowed[positive]
    return Comparison(name=name, max_error=float(error.max()), excess=float(ratio.max()))


def exact(name: str, got: Values, expected: Values) -> Comparison:
    """Compare values that must be equal.

    Raises:
        GoldenError: if the shapes differ.
    """
    return compare(name, got, expected, atol=0.0, rtol=0.0)


def _pair(name: str, got: Values, expected: Values) -> tuple[np.ndarray, np.ndarray]:
    left, right = _numbers(got), _numbers(expected)
    if left.shape != right.shape:
        raise GoldenError(f"{name}: shape {left.shape} where {right.shape} is expected")
    return left, right


def _numbers(values: Values) -> np.ndarray:
    array = values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
    return array.astype(np.float64)


def _tolerance(meta: dict[str, object], name: str) -> dict[str, float]:
    tolerance = meta.get("tolerance")
    if tolerance == "exact":
        return {"atol": 0.0, "rtol": 0.0}
    if not isinstance(tolerance, dict) or not tolerance:
        raise GoldenError(f"{name}: meta_json has no tolerance (an object of numbers, or 'exact')")
    numbers: dict[str, float] = {}
    for key, value in tolerance.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
            raise GoldenError(
                f"{name}: tolerance {key!r} = {show(value)} is not a number of 0 or more"
            )
        numbers[str(key)] = float(value)
    return numbers
