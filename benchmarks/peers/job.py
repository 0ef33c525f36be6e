"""The planning job that all sides do, and the weightless encoder that gives them their latents."""

from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor, nn

START, GOAL = 0, 1
"""Values of the pixels of the two observations: rows of the table of latents."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """One plan by the cross-entropy method, from one observation, on a model of a given size."""

    num_tokens: int
    """Tokens of one frame."""
    dim: int
    """Channels that the encoder gives each token."""
    feature_dim: int
    """Channels of the action code and of the proprio code in each token; 0: AdaLN, no proprio."""
    num_samples: int
    """Candidates of one iteration."""
    num_iterations: int
    """Iterations."""
    num_elites: int
    """Candidates that the next distribution is fitted to."""
    horizon: int = 6
    """Predicted frames."""
    window: int = 3
    """Frames that a prediction sees."""
    depth: int = 6
    """Layers."""
    num_heads: int = 16
    """Attention heads."""
    head_dim: int = 64
    """Width of one head."""
    mlp_dim: int = 2048
    """Width of the feed-forward layers."""
    action_dim: int = 10
    """Width of an action block."""
    proprio_dim: int = 4
    """Width of the proprioception, in jobs with features."""


_LEWM = Job(num_tokens=1, dim=192, feature_dim=0, num_samples=300, num_iterations=5, num_elites=30)
JOBS = {
    "lewm": _LEWM,
    "lewm_paper_budget": replace(_LEWM, num_iterations=30),
    "dino_wm": Job(
        num_tokens=256, dim=384, feature_dim=10, num_samples=8, num_iterations=1, num_elites=4
    ),
}
"""Jobs by size. The paper's budget is 300 samples x 30 iterations; the others take less."""


class Side(Protocol):
    """One library with its model, ready to do the job."""

    def plan(self, *, num_samples: int, num_iterations: int) -> Tensor:
        """Make one plan `[1, H, A]` with the library's own planner."""
        ...

    def naive(self, num_candidates: int) -> None:
        """Roll candidates out as planned, without anything that saves operations."""
        ...


class StoredLatents(nn.Module):
    """Return stored tokens instead of encoding: no side pays for an encoder."""

    def __init__(self, job: Job) -> None:
        """Draw the latents of the start and of the goal."""
        super().__init__()
        self.num_tokens, self.dim = job.num_tokens, job.dim
        side = round(job.num_tokens**0.5)
        self.grid = (side, side)
        self.table = nn.Parameter(torch.randn(2, job.num_tokens, job.dim))  # [2, N, D]

    def forward(self, pixels: Tensor) -> Tensor:
        """Return tokens `[*b, N, D]` of pictures `[*b, 3, h, w]`."""
        return self.table[pixels[..., 0, 0, 0].long()]


def picture(row: int, *lead: int) -> Tensor:
    """Return pictures `[*lead, 3, 8, 8]`, uint8, that stand for a row of the table."""
    return torch.full((*lead, 3, 8, 8), row, dtype=torch.uint8)
