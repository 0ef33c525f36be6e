"""Whether a checkpoint that predicts better plans better: rank correlation over the checkpoints of a run."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from jepawm.evaluation.metrics import correlation_interval, rank_correlation


@dataclass(frozen=True, kw_only=True)
class CheckpointFigures:
    """What one checkpoint of a run does."""

    step: int
    """Optimiser steps done."""
    errors: tuple[float, ...]
    """Error of predictions 1, 2, ... action blocks ahead, in the open loop, divided by the variance of
    the latents."""
    success: float
    """Success rate, on the same tasks for all checkpoints."""
    ci95: tuple[float, float]
    """Its 95 % Wilson interval."""


@dataclass(frozen=True, kw_only=True)
class ErrorCorrelation:
    """How prediction error and success go together over checkpoints."""

    k: int
    """Action blocks ahead."""
    correlation: float | None
    """Rank correlation of error and success; -1: the smaller the error, the more success. None where
    either is the same everywhere."""
    ci95: tuple[float, float] | None
    """Its 95 % interval; None of fewer than 4 checkpoints or a perfect order."""


@dataclass(frozen=True, kw_only=True)
class Checkpoints:
    """Prediction error and success over the kept checkpoints of a run."""

    protocol: str
    """Name of the protocol."""
    tasks: int
    """Tasks of each success rate."""
    figures: tuple[CheckpointFigures, ...]
    """Every checkpoint, in the order of training."""
    correlations: tuple[ErrorCorrelation, ...]
    """One for each number of blocks ahead."""

    def __post_init__(self) -> None:
        """Check that there is an error for each; they may come from a file."""
        if any(len(one.errors) != len(self.correlations) for one in self.figures):
            raise ValueError("a checkpoint has other errors than are correlated")


def compare_checkpoints(
    figures: Sequence[CheckpointFigures], *, protocol: str, tasks: int
) -> Checkpoints:
    """Correlate error and success of at least three checkpoints, whose errors are of equal length."""
    ordered = sorted(figures, key=lambda one: one.step)
    success = np.array([one.success for one in ordered])
    errors = np.array([one.errors for one in ordered])  # [checkpoints, K]
    correlations = []
    for k, column in enumerate(errors.T, start=1):
        found = rank_correlation(column, success)
        interval = None if found is None else correlation_interval(found, len(ordered))
        correlations.append(ErrorCorrelation(k=k, correlation=found, ci95=interval))
    return Checkpoints(
        protocol=protocol,
        tasks=tasks,
        figures=tuple(ordered),
        correlations=tuple(correlations),
    )
