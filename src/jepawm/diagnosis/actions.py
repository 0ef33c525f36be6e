"""How much predictions heed the actions: the same start, rolled out under the actions of another."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float

from jepawm.contracts import WorldModel
from jepawm.diagnosis.drift import squared_error
from jepawm.diagnosis.experience import Stretch
from jepawm.evaluation.metrics import Difference, mean_interval
from jepawm.types import Context


@dataclass(frozen=True, kw_only=True)
class ActionStep:
    """Errors of tokens `k` blocks ahead, divided by the variance of the tokens."""

    k: int
    """Action blocks ahead."""
    own: float
    """Error under the actions that were done."""
    other: float
    """Error under the actions of another stretch."""
    other_minus_own: Difference
    """The second minus the first, with its 95 % interval over stretches; about 0 where the model does
    not heed the actions."""
    moved: float
    """Mean squared difference of the two predictions, divided by the same variance."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ActionErrors:
    """Mean squared errors of some stretches, not yet divided by the variance."""

    own: Float[np.ndarray, "B H"]
    """Under the own actions."""
    other: Float[np.ndarray, "B H"]
    """Under those of another stretch."""
    moved: Float[np.ndarray, "B H"]
    """Between the two predictions."""


@torch.no_grad()
def action_errors(
    model: WorldModel, stretch: Stretch, *, window: int, horizon: int
) -> ActionErrors:
    """Predict 1 to `horizon` blocks under the own actions and those of the next stretch `[B]`.

    Predictions begin every `horizon` blocks; the mean over all of them is returned. `B` is at
    least 2.
    """
    num_blocks = stretch.actions.shape[1]
    found: dict[str, list[np.ndarray]] = {"own": [], "other": [], "moved": []}
    for start in range(window - 1, num_blocks - horizon + 1, horizon):
        context = Context(
            latents=stretch.latents[:, start + 1 - window : start + 1],
            actions=stretch.actions[:, start + 1 - window : start],
        )
        actions = stretch.actions[:, start : start + horizon]
        wanted = stretch.latents.tokens[:, start + 1 : start + 1 + horizon]
        own = model.rollout(context, actions, window=window).tokens
        other = model.rollout(context, actions.roll(1, dims=0), window=window).tokens
        for name, first, second in (
            ("own", own, wanted),
            ("other", other, wanted),
            ("moved", own, other),
        ):
            found[name].append(squared_error(first, second))
    means = {name: np.mean(values, axis=0) for name, values in found.items()}
    return ActionErrors(own=means["own"], other=means["other"], moved=means["moved"])


def summarize_actions(errors: Sequence[ActionErrors], *, variance: float) -> tuple[ActionStep, ...]:
    """Return the errors of all stretches, divided by the variance of the tokens."""
    own, other, moved = (
        np.concatenate([getattr(one, name) for one in errors]) / variance
        for name in ("own", "other", "moved")
    )
    return tuple(
        ActionStep(
            k=k + 1,
            own=float(own[:, k].mean()),
            other=float(other[:, k].mean()),
            other_minus_own=mean_interval(other[:, k] - own[:, k]),
            moved=float(moved[:, k].mean()),
        )
        for k in range(own.shape[1])
    )
