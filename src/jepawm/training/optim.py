"""Optimiser, schedules and the order of the data, all functions of the step alone.

Nothing here has a state other than AdamW's own, so a run resumed at step n continues exactly as if it
had never stopped.
"""

from dataclasses import dataclass, replace
from math import cos, pi
from typing import Literal

import torch
from jaxtyping import Int
from torch import Tensor, nn

from jepawm.errors import UserError, require_range


@dataclass(frozen=True, kw_only=True)
class OptimConfig:
    """Length and step size of training."""

    num_steps: int = 2000
    """Optimiser steps."""
    num_epochs: int | None = None
    """Passes over the training windows that decide `num_steps` once the data is known; None: the
    steps are given."""
    encoder_steps: int | None = None
    """Steps after which a learned encoder stays as it is: its tokens of all frames are computed once,
    held in memory (frames x N x D x 4 bytes), and the other steps train the predictor on them, as
    the paper does with frozen encoders. The learning rate then starts anew. None: it learns to
    the end; 0: it never does, for weights that another training has left."""
    batch_size: int = 128
    """Windows per step."""
    learning_rate: float = 5e-4
    """Peak learning rate of AdamW."""
    schedule: Literal["constant", "cosine", "wsd"] = "cosine"
    """constant (the paper's); decay to zero along a half cosine; or warm-up, stable, decay: constant
    until `anneal_steps` before the end, then linear to zero (V-JEPA-2-AC)."""
    warmup_steps: int = 50
    """Steps of linear warm-up."""
    initial_learning_rate: float = 0.0
    """Learning rate that the warm-up starts from."""
    anneal_steps: int = 0
    """Steps of the decay at the end of schedule wsd."""
    weight_decay: float = 1e-7
    """Weight decay of matrices at the start."""
    final_weight_decay: float = 1e-6
    """Weight decay at the end; it goes there along a half cosine."""
    beta2: float = 0.999
    """Second moment decay of AdamW."""
    clip_norm: float = 1.0
    """Largest gradient norm; 0 turns clipping off."""
    ema_decay: float | None = None
    """Decay of an exponential moving average of the weights, which validation, checkpoints and `load`
    have in place of the last weights; 0.999 averages over about a thousand steps. None: no average."""

    def __post_init__(self) -> None:
        """Check ranges."""
        if self.num_steps < 1 or self.batch_size < 1:
            raise UserError(
                f"optim.num_steps = {self.num_steps} and optim.batch_size = {self.batch_size} "
                "must be at least 1"
            )
        if self.num_epochs is not None and self.num_epochs < 1:
            raise UserError(f"optim.num_epochs = {self.num_epochs} must be at least 1, or none")
        if self.encoder_steps is not None and self.encoder_steps < 0:
            raise UserError(f"optim.encoder_steps = {self.encoder_steps} must be at least 0")
        steps = ("num_steps", "num_epochs", "batch_size", "warmup_steps", "anneal_steps")
        rates = ("learning_rate", "initial_learning_rate", "weight_decay", "final_weight_decay")
        require_range(self, (*steps, *rates, "clip_norm"), where="optim", least=0)
        if not 0.0 <= self.beta2 < 1.0:
            raise UserError(f"optim.beta2 = {self.beta2}; give 0 to below 1")
        if self.ema_decay is not None and not 0.0 <= self.ema_decay < 1.0:
            raise UserError(f"optim.ema_decay = {self.ema_decay}; give 0 to below 1, or none")

    def learning_rate_at(self, step: int) -> float:
        """Return the learning rate of step `step`, counted from 0."""
        steps = self.num_steps
        if self.encoder_learns(step):
            steps = min(steps, self.encoder_steps or steps)
        elif self.encoder_steps is not None:
            step, steps = step - self.encoder_steps, steps - self.encoder_steps
        warm = min(1.0, (step + 1) / max(self.warmup_steps, 1))
        rate = self.initial_learning_rate + (self.learning_rate - self.initial_learning_rate) * warm
        if self.schedule == "constant":
            return rate
        if self.schedule == "wsd":
            return rate * min(1.0, (steps - step) / max(self.anneal_steps, 1))
        progress = max(0, step - self.warmup_steps) / max(1, steps - self.warmup_steps)
        return rate * 0.5 * (1 + cos(pi * min(1.0, progress)))

    def encoder_learns(self, step: int) -> bool:
        """Return whether step `step`, counted from 0, changes a learned encoder."""
        return self.encoder_steps is None or step < self.encoder_steps

    def end_of_phase(self, step: int) -> int:
        """Return the step before which the encoder learns, or does not, as in step `step`."""
        if self.encoder_steps is None or step >= self.encoder_steps:
            return self.num_steps
        return min(self.encoder_steps, self.num_steps)

    def ema_decay_at(self, step: int) -> float:
        """Return the decay of the average after step `step`, counted from 0.

        An average that has just begun, also where the encoder stops, forgets faster.
        """
        if not self.encoder_learns(step) and self.encoder_steps is not None:
            step -= self.encoder_steps
        return min(self.ema_decay or 0.0, (1 + step) / (10 + step))

    def for_windows(self, num_windows: int) -> "OptimConfig":
        """Return the configuration with `num_steps` set, where `num_epochs` decides it."""
        if self.num_epochs is None:
            return self
        per_epoch = num_windows // min(self.batch_size, num_windows)
        return replace(self, num_steps=self.num_epochs * per_epoch)

    def weight_decay_at(self, step: int) -> float:
        """Return the weight decay of step `step`, counted from 0."""
        progress = 0.5 * (1 - cos(pi * step / self.num_steps))
        return self.weight_decay + (self.final_weight_decay - self.weight_decay) * progress


def build_optimizer(module: nn.Module, config: OptimConfig) -> torch.optim.AdamW:
    """Build AdamW; matrices decay, biases and norm weights do not."""
    parameters = [(n, p) for n, p in module.named_parameters() if p.requires_grad]
    decayed = [p for n, p in parameters if p.ndim >= 2 and "bias" not in n]
    plain = [p for n, p in parameters if p.ndim < 2 or "bias" in n]
    groups = [{"params": decayed, "decay": 1.0}, {"params": plain, "decay": 0.0}]
    on_gpu = bool(parameters) and parameters[0][1].is_cuda
    betas = (0.9, config.beta2)
    # One kernel for all weights on a GPU; elsewhere each weight as ever, so that runs go on bit for bit.
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=betas, fused=on_gpu or None)


def set_schedule(optimizer: torch.optim.Optimizer, config: OptimConfig, *, step: int) -> None:
    """Set learning rate and weight decay of step `step`."""
    for group in optimizer.param_groups:
        group["lr"] = config.learning_rate_at(step)
        group["weight_decay"] = config.weight_decay_at(step) * group["decay"]


def step_generator(seed: int, step: int) -> torch.Generator:
    """Return the random generator of one training step."""
    return torch.Generator().manual_seed((seed * 1_000_003 + step) * 2 + 1)


def batch_indices(
    *, num_windows: int, batch_size: int, seed: int, step: int
) -> Int[Tensor, " batch"]:
    """Return which windows step `step` trains on: epochs of random order, last rest dropped."""
    size = min(batch_size, num_windows)
    per_epoch = num_windows // size
    epoch, position = divmod(step, per_epoch)
    generator = torch.Generator().manual_seed((seed * 1_000_003 + epoch) * 2)
    order = torch.randperm(num_windows, generator=generator)
    return order[position * size : (position + 1) * size]
