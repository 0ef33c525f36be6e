"""Statistics of actions and proprioception, and the only code that applies them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from jepawm.commands import Commands
from jepawm.errors import UserError
from jepawm.types import EncodedObservation, Observation, TensorStruct

Seen = TypeVar("Seen", Observation, EncodedObservation)


@dataclass(frozen=True, kw_only=True)
class Normalizer(TensorStruct):
    """Normalise actions and proprioception to zero mean and unit standard deviation.

    Statistics belong to one environment step; an action block of `frameskip` actions is
    normalised piece by piece.
    """

    action_mean: Float[Tensor, " a"]
    """Mean of one environment action `[a]`."""
    action_std: Float[Tensor, " a"]
    """Standard deviation of one environment action `[a]`."""
    proprio_mean: Float[Tensor, " P"] | None = None
    """Mean of the proprioception `[P]`; None if the environment has none."""
    proprio_std: Float[Tensor, " P"] | None = None
    """Standard deviation of the proprioception `[P]`."""
    commands: Commands | None = None
    """What the columns of an action say, and in which form they are taken; None: as recorded."""

    @classmethod
    def from_statistics(
        cls,
        *,
        action_mean: Sequence[float],
        action_std: Sequence[float],
        proprio_mean: Sequence[float] | None = None,
        proprio_std: Sequence[float] | None = None,
    ) -> "Normalizer":
        """Build from plain numbers; a standard deviation of 0 (a constant column) becomes 1."""
        return cls(
            action_mean=_finite(action_mean, "action_mean"),
            action_std=_positive(action_std, "action_std"),
            proprio_mean=None if proprio_mean is None else _finite(proprio_mean, "proprio_mean"),
            proprio_std=None if proprio_std is None else _positive(proprio_std, "proprio_std"),
        )

    @classmethod
    def from_json(cls, data: Mapping[str, object], *, source: str) -> "Normalizer":
        """Rebuild from what `to_json` returned, read from the file `source`."""
        statistics: dict[str, list[float]] = {}
        for name in ("action_mean", "action_std", "proprio_mean", "proprio_std"):
            value = data.get(name)
            if name.startswith("proprio") and value is None:
                continue
            numbers = value if isinstance(value, list) else []
            if not numbers or any(type(one) not in (int, float) for one in numbers):
                raise UserError(f"{source}: normalizer.{name} is not a list of numbers")
            statistics[name] = list(map(float, numbers))
        for kind in ("action", "proprio"):
            mean, std = statistics.get(f"{kind}_mean", []), statistics.get(f"{kind}_std", [])
            if len(mean) != len(std):
                raise UserError(
                    f"{source}: normalizer.{kind}_mean has {len(mean)} numbers and "
                    f"normalizer.{kind}_std {len(std)}; copy the file again"
                )
        try:
            return cls.from_statistics(**statistics)
        except UserError as error:
            raise UserError(f"{source}: normalizer.{error}") from error

    @property
    def action_dim(self) -> int:
        """Return the width `a` of one environment action."""
        return self.action_mean.shape[0]

    def identity(self) -> "Normalizer":
        """Return the normaliser of the same widths that changes nothing."""
        zeros, ones = self.map(torch.zeros_like), self.map(torch.ones_like)
        return replace(zeros, action_std=ones.action_std, proprio_std=ones.proprio_std)

    def normalize_action(self, actions: Float[Tensor, "*b A"]) -> Float[Tensor, "*b A"]:
        """Normalise action blocks `[*b, A]` given in environment units."""
        pieces = self._pieces(actions)
        return ((pieces - self.action_mean) / self.action_std).reshape(actions.shape)

    def unnormalize_action(self, actions: Float[Tensor, "*b A"]) -> Float[Tensor, "*b A"]:
        """Return normalised action blocks `[*b, A]` to environment units."""
        return (self._pieces(actions) * self.action_std + self.action_mean).reshape(actions.shape)

    def observation(self, obs: Seen) -> Seen:
        """Normalise the proprioception of observations; pixels stay as they are."""
        if obs.proprio is None or self.proprio_mean is None or self.proprio_std is None:
            return obs
        return replace(obs, proprio=(obs.proprio - self.proprio_mean) / self.proprio_std)

    def to_json(self) -> dict[str, list[float] | None]:
        """Return the statistics as plain numbers."""
        values = {name: one for name, one in vars(self).items() if name != "commands"}
        return {name: None if one is None else one.tolist() for name, one in values.items()}

    def _pieces(self, actions: Tensor) -> Tensor:
        return actions.reshape(*actions.shape[:-1], -1, self.action_dim)  # [*b, frameskip, a]


def _finite(values: Sequence[float], name: str) -> Tensor:
    tensor = torch.tensor(values, dtype=torch.float32)
    if not bool(torch.isfinite(tensor).all()):
        raise UserError(f"{name} = {list(values)} is not finite; recompute the statistics")
    return tensor


def _positive(values: Sequence[float], name: str) -> Tensor:
    tensor = _finite(values, name)
    if bool((tensor < 0).any()):
        raise UserError(f"{name} = {list(values)} has a negative entry; recompute the statistics")
    return torch.where(tensor == 0, torch.ones_like(tensor), tensor)
