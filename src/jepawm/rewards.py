"""The settings of a learned reward and of its training; free of torch, so that help is quick."""

from dataclasses import dataclass
from typing import Literal

from jepawm.errors import UserError, require_range

RewardKind = Literal["reward", "success", "preference"]
"""What it learns from: numbers, labels 0 and 1, or which of two pieces is better."""


@dataclass(frozen=True, kw_only=True)
class RewardHeadConfig:
    """Sizes of a reward."""

    num_members: int = 5
    """Networks of the ensemble, each of which learns from a part of the episodes of its own."""
    width: int = 64
    """Width of their layers."""
    depth: int = 2
    """Hidden layers."""
    inputs: Literal["latent", "latent_action"] = "latent"
    """What they see: the latent, or the latent and the action block that led to it."""
    num_queries: int = 4
    """Places that they look at where latents have more than one token."""

    def __post_init__(self) -> None:
        """Refuse sizes that are out of range."""
        for name, most in _MOST.items():
            if not 1 <= getattr(self, name) <= most:
                raise UserError(f"head.{name} = {getattr(self, name)}; give 1 to {most}")
        if self.inputs not in ("latent", "latent_action"):
            raise UserError(f"head.inputs = {self.inputs!r}; choose latent or latent_action")


_MOST = {"num_members": 64, "width": 8192, "depth": 16, "num_queries": 256}


@dataclass(frozen=True, kw_only=True)
class RewardConfig:
    """How a reward is trained."""

    head: RewardHeadConfig = RewardHeadConfig()
    """The networks."""
    num_steps: int = 1000
    """Optimiser steps."""
    batch_size: int = 64
    """Pieces of experience, or pairs of them, in a step."""
    learning_rate: float = 1e-3
    """Peak learning rate of AdamW."""
    predicted_weight: float = 0.5
    """Part of the loss that is about latents which the world model predicts, as plans do; the rest is
    about those of real frames."""
    kept: float = 0.7
    """Part of the episodes that each member learns from."""

    def __post_init__(self) -> None:
        """Refuse numbers that are out of range."""
        require_range(self, ("num_steps", "batch_size"), where="train-reward", least=1)
        require_range(self, ("learning_rate",), where="train-reward", least=1e-9, most=1e3)
        require_range(self, ("predicted_weight",), where="train-reward", least=0, most=1)
        require_range(self, ("kept",), where="train-reward", least=0.05, most=1)
