"""How far predictions drift from what is seen, step by step, alone and with real observations between.

Errors are mean squared differences of latents divided by the variance of the latents: 1 is as bad as
predicting the mean, 2 as bad as any other moment of the data.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from jepawm.contracts import WorldModel
from jepawm.diagnosis.experience import Stretch
from jepawm.evaluation.metrics import Difference, mean_interval
from jepawm.types import Context, Latent, concatenate

CODES = ("tokens", "proprio")
"""The parts of a latent."""
LARGEST = 1e30
"""Error of predictions that are no finite numbers, or farther off than this."""


@dataclass(frozen=True, kw_only=True)
class DriftStep:
    """Errors `k` action blocks after the first prediction began, over the same stretches."""

    k: int
    """Action blocks from the start of the stretch."""
    model: float
    """Error of the model's prediction."""
    model_ci95: tuple[float, float]
    """Its 95 % interval over stretches."""
    copy: float
    """Error of copying the last real latent."""
    model_minus_copy: Difference
    """The first minus the second, with its 95 % interval over stretches."""


@dataclass(frozen=True, kw_only=True)
class DriftCurve:
    """Errors of predictions that see a real observation now and then."""

    every: int | None
    """Action blocks between two real observations; None: never again, the open loop."""
    steps: tuple[DriftStep, ...]
    """Errors of every step."""

    def __post_init__(self) -> None:
        """Check that there is a step; a curve may come from a file."""
        if not self.steps:
            raise ValueError("a curve of drift has no steps")

    @property
    def mean(self) -> float:
        """Return the error over all steps."""
        return sum(step.model for step in self.steps) / len(self.steps)


@dataclass(frozen=True, kw_only=True)
class Drift:
    """Errors of predictions, in the open loop and with real observations."""

    stretches: int
    """Stretches of experience."""
    window: int
    """Real latents that a prediction begins with, as in planning."""
    curves: Mapping[str, tuple[DriftCurve, ...]]
    """Curves of `tokens` and, where there is one, `proprio`: the open loop first."""
    steps_ahead_of_copying: int
    """Steps of the open loop, from the first on, of whose tokens the model surely knows more than a
    copy: the interval of the difference is below 0."""

    def __post_init__(self) -> None:
        """Check that every code has a curve; they may come from a file."""
        if not all(self.curves.values()):
            raise ValueError("a code has no curves of drift")


@dataclass(frozen=True, kw_only=True, eq=False)
class DriftErrors:
    """Errors of some stretches, not yet divided by the variance."""

    code: str
    """Part of the latent."""
    every: int | None
    """Action blocks between two real observations."""
    model: Float[np.ndarray, "B K"]
    """Mean squared errors of the model."""
    copy: Float[np.ndarray, "B K"]
    """Mean squared errors of copying."""


def drift_errors(
    model: WorldModel, stretch: Stretch, *, window: int, num_steps: int, every: Sequence[int | None]
) -> list[DriftErrors]:
    """Compare predictions of steps 1 to K, after `window` real latents, with what was seen.

    Args:
        model: the world model.
        stretch: experience of at least `window - 1 + K` action blocks.
        window: real latents that a prediction begins with, and that each prediction sees.
        num_steps: steps `K`.
        every: action blocks between two real observations, one for each curve; None: open loop.
    """
    first = window - 1
    errors = []
    for blocks in every:
        predicted = predict(model, stretch, window=window, num_steps=num_steps, every=blocks)
        starts = first + np.arange(num_steps) // (blocks or num_steps) * (blocks or num_steps)
        for code in CODES:
            seen, found = getattr(stretch.latents, code), getattr(predicted, code)
            if seen is None:
                continue
            wanted = seen[:, first + 1 : first + 1 + num_steps]  # [B, K]
            kept = seen[:, torch.from_numpy(starts)]
            errors.append(
                DriftErrors(
                    code=code,
                    every=blocks,
                    model=squared_error(found, wanted),
                    copy=squared_error(kept, wanted),
                )
            )
    return errors


@torch.no_grad()
def predict(
    model: WorldModel, stretch: Stretch, *, window: int, num_steps: int, every: int | None
) -> Latent:
    """Return predicted latents `[B, K]`; every so many blocks a prediction begins at real latents."""
    pieces = []
    length = every or num_steps
    for start in range(window - 1, window - 1 + num_steps, length):
        stop = min(start + length, window - 1 + num_steps)
        context = Context(
            latents=stretch.latents[:, start + 1 - window : start + 1],
            actions=stretch.actions[:, start + 1 - window : start],
        )
        pieces.append(model.rollout(context, stretch.actions[:, start:stop], window=window))
    return concatenate(pieces, dim=1)


def squared_error(
    codes: Float[Tensor, "B K N D"], wanted: Float[Tensor, "B K N D"]
) -> Float[np.ndarray, "B K"]:
    """Return mean squared differences of codes; what overflows counts as `LARGEST`."""
    apart = (codes - wanted).double().square().mean((2, 3)).cpu().numpy()
    return np.nan_to_num(apart, nan=LARGEST, posinf=LARGEST).clip(max=LARGEST)


def summarize_drift(
    errors: Sequence[DriftErrors], *, variances: Mapping[str, float], window: int
) -> Drift:
    """Return curves of errors of all stretches, divided by the variance of each code.

    A code that does not vary has no curves.
    """
    curves: dict[str, tuple[DriftCurve, ...]] = {}
    for code in dict.fromkeys(one.code for one in errors):
        if variances[code] == 0.0:
            continue
        own = [one for one in errors if one.code == code]
        curves[code] = tuple(
            _curve([one for one in own if one.every == every], variance=variances[code])
            for every in dict.fromkeys(one.every for one in own)
        )
    open_loop = curves[CODES[0]][0].steps
    behind = [step.k for step in open_loop if step.model_minus_copy.ci95[1] >= 0.0]
    return Drift(
        stretches=sum(len(one.model) for one in errors) // max(_num_curves(errors), 1),
        window=window,
        curves=curves,
        steps_ahead_of_copying=(behind[0] - 1) if behind else len(open_loop),
    )


def _num_curves(errors: Sequence[DriftErrors]) -> int:
    return len({(one.code, one.every) for one in errors})


def _curve(errors: Sequence[DriftErrors], *, variance: float) -> DriftCurve:
    model = np.concatenate([one.model for one in errors]) / variance  # [n, K]
    copy = np.concatenate([one.copy for one in errors]) / variance
    steps = []
    for k, (ours, theirs) in enumerate(zip(model.T, copy.T, strict=True), start=1):
        found = mean_interval(ours)
        steps.append(
            DriftStep(
                k=k,
                model=found.difference,
                model_ci95=found.ci95,
                copy=float(theirs.mean()),
                model_minus_copy=mean_interval(ours - theirs),
            )
        )
    return DriftCurve(every=errors[0].every, steps=tuple(steps))
