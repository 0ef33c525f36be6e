"""All that is measured on stretches of experience: drift, use of the actions, shape of the latents."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch

from jepawm.contracts import WorldModel
from jepawm.diagnosis.actions import ActionErrors, ActionStep, action_errors, summarize_actions
from jepawm.diagnosis.drift import CODES, Drift, DriftErrors, drift_errors, predict, summarize_drift
from jepawm.diagnosis.experience import Stretch
from jepawm.diagnosis.latents import LatentMoments, LatentShape, straightness, summarize_latents


@dataclass(frozen=True, kw_only=True)
class PredictionRules:
    """What is predicted."""

    num_stretches: int
    """Stretches of experience, at least 2."""
    num_steps: int
    """Action blocks of the longest prediction, at least 3."""
    window: int
    """Real latents that a prediction begins with, and that each prediction sees: the agent's."""
    every: tuple[int, ...]
    """Action blocks between two real observations, one for each curve beside the open loop."""
    horizon: int
    """Action blocks of a plan."""

    @property
    def length(self) -> int:
        """Return the action blocks of a stretch."""
        return self.window - 1 + self.num_steps


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """What was found on stretches of experience."""

    latents: LatentShape
    """Shape of the real latents."""
    drift: Drift | None
    """Errors over many steps; None where the latents do not vary."""
    actions: tuple[ActionStep, ...]
    """Errors under own and other actions; empty where the latents do not vary."""


def measure_predictions(
    model: WorldModel, stretches: Iterable[Stretch], *, rules: PredictionRules
) -> Predictions:
    """Predict stretches of experience and compare with what was seen."""
    num_frames = rules.num_stretches * (rules.length + 1)
    moments = {code: LatentMoments(num_frames) for code in CODES}
    drifts: list[DriftErrors] = []
    actions: list[ActionErrors] = []
    straight: list[tuple[torch.Tensor, torch.Tensor]] = []
    window, width, seen = rules.window, 0, set[str]()
    for stretch in stretches:
        width = stretch.latents.tokens[0, 0].numel()
        for code in CODES:
            values = getattr(stretch.latents, code)
            if values is not None:
                moments[code].add(values)
                seen.add(code)
        drifts += drift_errors(
            model, stretch, window=window, num_steps=rules.num_steps, every=(None, *rules.every)
        )
        actions.append(action_errors(model, stretch, window=window, horizon=rules.horizon))
        alone = predict(model, stretch, window=window, num_steps=rules.num_steps, every=None)
        straight.append(
            (straightness(stretch.latents.tokens).cpu(), straightness(alone.tokens).cpu())
        )
    real, predicted = (torch.cat(values) for values in zip(*straight, strict=True))
    variances = {code: moments[code].variance for code in seen}
    varies = variances[CODES[0]] > 0.0
    return Predictions(
        latents=summarize_latents(moments[CODES[0]], width=width, real=real, predicted=predicted),
        drift=summarize_drift(drifts, variances=variances, window=window) if varies else None,
        actions=summarize_actions(actions, variance=variances[CODES[0]]) if varies else (),
    )
