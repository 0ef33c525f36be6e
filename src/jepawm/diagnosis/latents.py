"""What latents of real experience look like: how many directions they use, how straight their paths are."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import cosine_similarity

from jepawm.evaluation.metrics import Difference, mean_interval
from jepawm.training.regularizers import effective_rank

_NUMBERS = 2**24
"""Numbers that the rank is computed from at most: 128 MB in float64."""
_ROUNDING = 1e-12
"""Variance of a number below this part of its mean square is rounding."""


@dataclass(frozen=True, kw_only=True)
class LatentShape:
    """How the tokens of latents are spread, and how they move."""

    width: int
    """Numbers of all tokens of a latent."""
    std: float
    """Mean standard deviation of these numbers over the frames."""
    effective_rank: float
    """Directions that they use: exponential of the entropy of their spectrum."""
    share_over_time: float
    """Part of the variance of token channels that is between frames; the rest is between the places of
    a grid and says nothing of what happens. 1 with one token."""
    straightness: Difference
    """Mean cosine between successive changes of a latent, block by block: 1 is a straight line, 0 a
    right angle at every step; `difference` is the mean, with its 95 % interval over stretches."""
    predicted_straightness: Difference
    """The same of predicted latents in the open loop."""


class LatentMoments:
    """Add up what the variance and the rank of latents need, stretch by stretch."""

    def __init__(self, num_frames: int) -> None:
        """Take the number of frames of all stretches."""
        self._num_frames = num_frames
        self._sum = self._squares = torch.zeros(())
        self._kept: list[Tensor] = []

    def add(self, codes: Float[Tensor, "B T N D"]) -> None:
        """Take codes of some stretches."""
        flat = codes.flatten(0, 1).double().cpu()  # [B T, N, D]
        self._sum = self._sum + flat.sum(0)
        self._squares = self._squares + flat.square().sum(0)
        step = 1 + self._num_frames * flat[0].numel() // _NUMBERS
        self._kept.append(flat[::step].flatten(1))

    @property
    def variance(self) -> float:
        """Return the variance over frames, averaged over tokens and channels."""
        return float(self._over_time().mean())

    @property
    def std(self) -> float:
        """Return the standard deviation over frames, averaged over tokens and channels."""
        return float(self._over_time().sqrt().mean())

    @property
    def share_over_time(self) -> float:
        """Return the part of the variance that is between frames and not between tokens."""
        within = float(self._over_time().mean())
        between = float((self._sum / self._num_frames).var(0, correction=0).mean())  # of means
        total = within + between
        return within / total if total > 0 else 0.0

    @property
    def effective_rank(self) -> float:
        """Return the number of directions that the codes use."""
        return effective_rank(torch.cat(self._kept))

    def _over_time(self) -> Float[Tensor, "N D"]:
        mean, squares = self._sum / self._num_frames, self._squares / self._num_frames
        variance = squares - mean.square()
        return variance.where(variance > _ROUNDING * squares, 0.0)


def straightness(codes: Float[Tensor, "B T N D"]) -> Float[Tensor, " B"]:
    """Return the mean cosine between successive changes of codes; of at least 3 instants."""
    changes = codes.flatten(2).diff(dim=1)  # [B, T - 1, N D]
    return cosine_similarity(changes[:, 1:], changes[:, :-1], dim=-1).mean(1)


def summarize_latents(
    moments: LatentMoments,
    *,
    width: int,
    real: Float[Tensor, " n"],
    predicted: Float[Tensor, " n"],
) -> LatentShape:
    """Return the shape of all latents, given the straightness of each stretch."""
    return LatentShape(
        width=width,
        std=moments.std,
        effective_rank=moments.effective_rank,
        share_over_time=moments.share_over_time,
        straightness=mean_interval(real.double().numpy()),
        predicted_straightness=mean_interval(predicted.double().numpy()),
    )
