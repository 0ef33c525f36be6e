"""What terms read of a model: its learned heads, handed to them once, before anything is planned."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from jepawm.contracts import Objective
from jepawm.errors import UserError
from jepawm.types import Latent, Observation

Probe = Callable[[Latent], Float[Tensor, "*b S"]]
"""States `[*b, S]` that a probe reads from latents `[*b]`."""
RewardHead = Callable[
    [Latent, Float[Tensor, "B K H A"]], tuple[Float[Tensor, "B K H"], Float[Tensor, "B K H"]]
]
"""Predicted reward `[B, K, H]` of latents and the actions that lead to them, and its uncertainty."""


@runtime_checkable
class TextReader(Protocol):
    """Map latents and texts into one space, where a latent lies beside what is true of it."""

    def __call__(self, latents: Latent) -> Float[Tensor, "*b E"]:
        """Return where latents `[*b]` lie, `[*b, E]`, of length 1."""
        ...

    def embed(self, texts: Sequence[str]) -> Float[Tensor, "n E"]:
        """Return where texts lie, `[n, E]`, of length 1."""
        ...


def _no_reward(name: str) -> RewardHead:
    raise UserError(
        f"the objective asks for the reward {name!r}, and nobody gave one; load the model that it "
        "was trained for by jepawm.load, or give Reward(head)"
    )


def _no_text(name: str) -> TextReader:
    raise UserError(
        f"the objective asks for the map to texts {name!r}, and nobody gave one; load the model that it "
        "was trained for by jepawm.load, or give TextDistance(head)"
    )


def _as_it_is(objective: Objective) -> Objective:
    return objective


@dataclass(frozen=True, kw_only=True)
class Heads:
    """What a model brings that an objective may read; what is None is not there."""

    with_steps: Callable[[Objective], Objective] = _as_it_is
    """Gives a distance of latents the head that counts action blocks, where it asks for one."""
    probe: Probe | None = None
    """Reads simulator states."""
    grid: tuple[int, int] | None = None
    """Rows and columns of tokens."""
    reward: Callable[[str], RewardHead] = _no_reward
    """Learned rewards by name."""
    text: Callable[[str], TextReader] = _no_text
    """Maps to texts by name."""
    encode: Callable[[Observation], Latent] | None = None
    """Turns observations `[*b]` in environment units into latents `[*b]`."""
    action_dim: int | None = None
    """Width of one environment action."""


NO_HEADS = Heads()
"""Of a model that has nothing but itself."""


@runtime_checkable
class ReadsHeads(Protocol):
    """An objective that reads heads of a model."""

    def with_heads(self, heads: Heads) -> Objective:
        """Return the objective with the heads that it reads; what is not there is a `UserError`."""
        ...


def bind(objective: Objective, heads: Heads) -> Objective:
    """Return what an objective computes with a model's heads."""
    if isinstance(objective, ReadsHeads):
        return objective.with_heads(heads)
    return heads.with_steps(objective)


def require_probe(heads: Heads, what: str) -> Probe:
    """Return the probe of a model, which a term reads states from."""
    if heads.probe is None:
        raise UserError(
            f"{what} reads states from latents, and this model has no probe: its data held no "
            "simulator states; choose another term"
        )
    return heads.probe
