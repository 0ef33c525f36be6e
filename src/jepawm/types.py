"""The data that every part of the library speaks: tensor dataclasses and tasks.

Letters: `B` problems, `K` candidates, `T` time, `W` window, `H` horizon, `N` tokens, `D` latent
width, `A` action block (frameskip x environment action), `P` proprio width, `*b` any batch shape.
`actions[t]` leads `obs[t]` to `obs[t+1]`: `T` actions go with `T + 1` observations.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TypeVar

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

Struct = TypeVar("Struct", bound="TensorStruct")


class TensorStruct:
    """Give a frozen dataclass of tensors (or None, or other structs) tensor-like batch handling."""

    def map(self: Struct, function: Callable[[Tensor], Tensor]) -> Struct:
        """Apply `function` to every tensor inside."""
        changes: dict[str, object] = {}
        for one in fields(self):  # pyright: ignore[reportArgumentType]
            value = getattr(self, one.name)
            if isinstance(value, TensorStruct):
                changes[one.name] = value.map(function)
            elif isinstance(value, Tensor):
                changes[one.name] = function(value)
        return replace(self, **changes)  # pyright: ignore[reportArgumentType, reportCallIssue]

    def __getitem__(self: Struct, index: object) -> Struct:
        """Index the leading batch axes of every tensor alike."""
        return self.map(lambda tensor: tensor[index])  # pyright: ignore[reportArgumentType]

    def to(self: Struct, target: torch.device | torch.dtype | str) -> Struct:
        """Move every tensor to a device or a dtype."""
        return self.map(lambda tensor: tensor.to(target))

    def detach(self: Struct) -> Struct:
        """Cut every tensor from its gradient."""
        return self.map(torch.Tensor.detach)


def concatenate(structs: Sequence[Struct], *, dim: int) -> Struct:
    """Join structs of one type along the batch axis `dim` (counted from the front)."""
    first = structs[0]
    changes: dict[str, object] = {}
    for one in fields(first):  # pyright: ignore[reportArgumentType]
        values = [getattr(struct, one.name) for struct in structs]
        if isinstance(values[0], TensorStruct):
            changes[one.name] = concatenate(values, dim=dim)
        elif isinstance(values[0], Tensor):
            changes[one.name] = torch.cat(values, dim=dim)
    return replace(first, **changes)  # pyright: ignore[reportArgumentType, reportCallIssue]


@dataclass(frozen=True, kw_only=True)
class Observation(TensorStruct):
    """What a robot sees and feels at some instants."""

    pixels: UInt8[Tensor, "*b 3 height width"]
    """RGB image `[*b, 3, Hpx, Wpx]`, uint8, 0 to 255."""
    proprio: Float[Tensor, "*b P"] | None = None
    """The robot's own state `[*b, P]` in environment units; None if there is none."""

    @property
    def batch_shape(self) -> torch.Size:
        """Return `*b`."""
        return self.pixels.shape[:-3]


@dataclass(frozen=True, kw_only=True)
class EncodedObservation(TensorStruct):
    """An observation whose picture a frozen encoder has turned into tokens, for training."""

    tokens: Float[Tensor, "*b N D"]
    """Tokens `[*b, N, D]`, float16 as a feature cache keeps them."""
    proprio: Float[Tensor, "*b P"] | None = None
    """The robot's own state `[*b, P]` in environment units; None if there is none."""

    @property
    def batch_shape(self) -> torch.Size:
        """Return `*b`."""
        return self.tokens.shape[:-2]


@dataclass(frozen=True, kw_only=True)
class Latent(TensorStruct):
    """An encoded observation."""

    tokens: Float[Tensor, "*b N D"]
    """Visual tokens `[*b, N, D]`, row by row where they form a grid."""
    proprio: Float[Tensor, "*b M Dp"] | None = None
    """Proprio code `[*b, M, Dp]`; None without proprio. With proprio as features `M = N` (the code
    is repeated over the tokens and predicted once per token), with proprio as a token `M = 1`."""

    @property
    def batch_shape(self) -> torch.Size:
        """Return `*b`."""
        return self.tokens.shape[:-2]


@dataclass(frozen=True, kw_only=True)
class Trajectory(TensorStruct):
    """A piece of experience: `T` actions between `T + 1` observations."""

    obs: Observation | EncodedObservation
    """Observations `[B, T+1]`; encoded ones where a feature cache is used."""
    actions: Float[Tensor, "B T A"]
    """Action blocks `[B, T, A]`, normalised once they have left `data/windows.py`."""


@dataclass(frozen=True, kw_only=True)
class Context(TensorStruct):
    """What a rollout starts from: the last `w` latents and the actions between them."""

    latents: Latent
    """Latents `[B, w]`, `1 <= w <= W`."""
    actions: Float[Tensor, "B T A"]
    """Actions `[B, w-1, A]` between them (`T = w - 1`)."""


@dataclass(frozen=True, kw_only=True)
class Plan(TensorStruct):
    """The result of a planner."""

    actions: Float[Tensor, "B H A"]
    """Planned action blocks `[B, H, A]`, normalised."""
    cost: Float[Tensor, " B"]
    """Cost `[B]` of exactly these actions; NaN where nobody evaluated them."""
    history: Float[Tensor, "I B"]
    """Lowest candidate cost `[I, B]` in each planner iteration."""
    num_dropped: int = 0
    """How many candidates were dropped because their cost was not finite."""
    num_searched: int = 0
    """How many problems were searched because their proposals were poor."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """One start and one goal of an environment, exact and serialisable."""

    start: tuple[float, ...]
    """Simulator state at the start; empty where there is none."""
    goal: tuple[float, ...]
    """Simulator state at the goal; empty where there is none."""
    parameters: dict[str, float] = field(default_factory=dict)
    """Layout of the environment where it varies, for example the position of a door."""
