"""Count what training computes."""

from dataclasses import replace
from typing import cast

import torch
from torch import nn

from jepawm.compute import count_gflop
from jepawm.training.objective import Learner
from jepawm.training.optim import OptimConfig
from jepawm.types import EncodedObservation, Trajectory


def gflop_per_step(learner: Learner, batch: Trajectory) -> float:
    """Count the GFLOP of one step, forward and backward, on `batch`."""

    def step() -> None:
        learner(batch, generator=torch.Generator().manual_seed(0))["loss"].backward()

    gflop = count_gflop(step)
    learner.zero_grad(set_to_none=True)
    return gflop


def training_gflop(
    learner: Learner, batch: Trajectory, *, optim: OptimConfig, num_steps: int
) -> float:
    """Count the GFLOP of the first `num_steps` steps, of which some may train the predictor alone.

    The batch holds what the first step saw.
    """
    encoder = cast(nn.Module, learner.model.encoder)
    learns = any(parameter.requires_grad for parameter in encoder.parameters())
    learning = num_steps
    if optim.encoder_steps is not None and not isinstance(batch.obs, EncodedObservation):
        learning = min(num_steps, optim.encoder_steps)
        encoder.requires_grad_()
    gflop = learning * gflop_per_step(learner, batch)
    encoder.requires_grad_(learns)
    if learning < num_steps:
        with torch.no_grad():
            tokens = learner.encode(batch.obs).tokens
        encoded = EncodedObservation(tokens=tokens, proprio=batch.obs.proprio)
        gflop += (num_steps - learning) * gflop_per_step(learner, replace(batch, obs=encoded))
    return gflop
