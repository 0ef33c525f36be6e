"""How well a learned reward predicts the true return of pieces of experience it has not seen."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from jepawm.evaluation.metrics import rank_correlation
from jepawm.models.rewards import RewardEnsemble
from jepawm.models.world_model import JEPAWorldModel
from jepawm.training.rewards import RewardData, encode_and_predict
from jepawm.training.validation import spaced_indices

_BATCH = 64


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Predicted and true returns of held-out pieces, whose latents are predicted as in plans."""

    num_pieces: int
    """Number of pieces."""
    rank_correlation: float | None
    """Spearman's correlation of predicted and true return; None where one does not vary."""
    correlation: float | None
    """Pearson's correlation."""
    slope: float | None
    """Rise of the true return with the predicted one, by least squares; 1: calibrated."""
    error: float | None
    """Root mean squared error, as a part of the standard deviation of the true return."""


@torch.no_grad()
def calibrate(
    reward: RewardEnsemble, model: JEPAWorldModel, *, data: RewardData, num_pieces: int = 1024
) -> Calibration:
    """Compare returns of windows with what is predicted for them from their first frame."""
    assert data.targets is not None
    index = spaced_indices(data.windows, num_pieces)
    predicted: list[Tensor] = []
    for part in index.split(_BATCH):
        _, actions, latents = encode_and_predict(model, data.windows, index=part)
        predicted.append(reward(latents, actions)[0].sum(-1).cpu())
    guess = torch.cat(predicted).double().numpy()
    truth = data.targets[index].sum(-1).double().numpy()
    spread = float(truth.std())
    varies = spread > 0.0 and float(guess.std()) > 0.0
    covariance = np.cov(guess, truth)
    return Calibration(
        num_pieces=len(index),
        rank_correlation=rank_correlation(guess, truth),
        correlation=float(np.corrcoef(guess, truth)[0, 1]) if varies else None,
        slope=float(covariance[0, 1] / covariance[0, 0]) if varies else None,
        error=float(np.sqrt(np.mean((guess - truth) ** 2))) / spread if varies else None,
    )
