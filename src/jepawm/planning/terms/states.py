"""Goals and forbidden regions in units of the simulator's state, which a probe reads from latents."""

from dataclasses import dataclass, field, replace
from typing import Annotated, ClassVar

import torch
import tyro
from jaxtyping import Float
from torch import Tensor

from jepawm.errors import UserError
from jepawm.planning.terms.composition import Composable
from jepawm.planning.terms.heads import Heads, Probe, require_probe
from jepawm.types import Latent


@dataclass(frozen=True, kw_only=True)
class StateGoal(Composable):
    """Cost how far some dimensions of the last predicted state are from those of the goal."""

    dims: tuple[int, ...] = (0, 1)
    """Which numbers of the state count; the others may be anything."""
    scale: float = 1.0
    """Distance in units of the state that costs 1, where one dimension counts."""
    probe: Annotated[Probe | None, tyro.conf.Suppress] = field(
        default=None, metadata={"of_model": True}
    )
    """Reads states; None until an agent has given the model's."""

    def __post_init__(self) -> None:
        """Refuse a goal without a number, or without a scale."""
        _check_dims("state_goal", self.dims)
        if not 0.0 < self.scale < float("inf"):
            raise UserError(f"state_goal.scale = {self.scale}; give a number above 0")

    def with_heads(self, heads: Heads) -> "StateGoal":
        """Return the term with the model's probe."""
        return replace(self, probe=self.probe or require_probe(heads, "StateGoal"))

    def __call__(
        self,
        predicted: Latent,
        goal: Latent,
        actions: Float[Tensor, "B K H A"],  # noqa: ARG002 (the protocol's third argument)
    ) -> Float[Tensor, "B K"]:
        """Return costs `[B, K]` of latents `[B, K, H]` for goals `[B]`."""
        reached = _read(self.probe, predicted[:, :, -1], self.dims)  # [B, K, dims]
        wanted = _read(self.probe, goal, self.dims)[:, None]
        return ((reached - wanted) / self.scale).square().mean(-1)


@dataclass(frozen=True, kw_only=True)
class KeepOut(Composable):
    """Cost every step inside a box of states: 1, and how deep it is, so that gradients lead out.

    The way between two predicted steps is checked too; the first begins at the first predicted step.
    """

    low: tuple[float, ...]
    """Lower edge of the box in each dimension, in units of the state."""
    high: tuple[float, ...]
    """Upper edge."""
    dims: tuple[int, ...] = (0, 1)
    """Which numbers of the state the edges are about."""
    margin: float = 0.0
    """Width that is added on all sides, for what the probe and the model get wrong."""
    num_between: int = 4
    """Points between two predicted steps, on the straight line, that are checked as well."""
    probe: Annotated[Probe | None, tyro.conf.Suppress] = field(
        default=None, metadata={"of_model": True}
    )
    """Reads states; None until an agent has given the model's."""
    needs_goal: ClassVar[bool] = False
    """Whether it compares with a goal."""

    def __post_init__(self) -> None:
        """Refuse boxes that hold nothing."""
        _check_dims("keep_out", self.dims)
        if not len(self.low) == len(self.high) == len(self.dims):
            raise UserError(
                f"keep_out has {len(self.low)} lower and {len(self.high)} upper edges for "
                f"{len(self.dims)} dimensions; give one of each for each"
            )
        if not all(low < high for low, high in zip(self.low, self.high, strict=True)):
            raise UserError(
                f"keep_out.low = {self.low} is not below keep_out.high = {self.high}; swap them"
            )
        if not 0.0 <= self.margin < float("inf") or self.num_between < 0:
            raise UserError(
                f"keep_out.margin = {self.margin}, num_between = {self.num_between}; give 0 or more"
            )

    def with_heads(self, heads: Heads) -> "KeepOut":
        """Return the term with the model's probe."""
        return replace(self, probe=self.probe or require_probe(heads, "KeepOut"))

    def __call__(
        self,
        predicted: Latent,
        goal: Latent,  # noqa: ARG002 (the protocol's arguments)
        actions: Float[Tensor, "B K H A"],  # noqa: ARG002
    ) -> Float[Tensor, "B K"]:
        """Return costs `[B, K]` of latents `[B, K, H]`."""
        places = self._path(_read(self.probe, predicted, self.dims))  # [B, K, points, dims]
        low, high = places.new_tensor(self.low), places.new_tensor(self.high)
        inside = torch.minimum(places - low, high - places) + self.margin
        depth = inside.amin(-1).clamp(min=0.0)  # [B, K, points]
        size = (high - low).amin() / 2 + self.margin
        return ((depth > 0.0) + depth / size).sum(-1)

    def _path(self, places: Float[Tensor, "B K H dims"]) -> Float[Tensor, "B K points dims"]:
        """Return the places, and those on the straight lines between them."""
        if places.shape[2] < 2 or not self.num_between:
            return places
        parts = torch.linspace(0.0, 1.0, self.num_between + 2)[1:-1]
        parts = parts.to(places)[:, None]  # [between, 1]
        starts, ends = places[:, :, :-1, None], places[:, :, 1:, None]
        between = starts + parts * (ends - starts)  # [B, K, H - 1, between, dims]
        return torch.cat([places, between.flatten(2, 3)], dim=2)


def _check_dims(name: str, dims: tuple[int, ...]) -> None:
    if not dims or min(dims) < 0 or len(set(dims)) < len(dims):
        raise UserError(f"{name}.dims = {dims}; give different numbers, 0 or more")


def _read(probe: Probe | None, latents: Latent, dims: tuple[int, ...]) -> Tensor:
    """Return some dimensions `[*b, dims]` of the states of latents `[*b]`."""
    if probe is None:
        raise UserError("the term has no probe yet; plan by an agent of a model that has one")
    states = probe(latents)
    if max(dims) >= states.shape[-1]:
        raise UserError(
            f"dims = {dims} of a state of {states.shape[-1]} numbers; give 0 to "
            f"{states.shape[-1] - 1}"
        )
    return states[..., list(dims)]
