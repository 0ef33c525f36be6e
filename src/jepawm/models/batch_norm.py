"""Batch normalisation over the whole batch, also where processes hold slices of it."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from jepawm.processes import count_processes, sum_over_processes


class BatchNorm(nn.BatchNorm1d):
    """Normalise features over the global batch, without weights.

    torch's SyncBatchNorm does the same on GPUs only.
    """

    def __init__(self, dim: int) -> None:
        """Take the width of the features."""
        super().__init__(dim, affine=False)

    def forward(self, input: Float[Tensor, "n D"]) -> Float[Tensor, "n D"]:  # noqa: A002
        """Normalise `[n, D]`, with the moments of all processes while training."""
        if not self.training or count_processes() == 1:
            return super().forward(input)
        x = input.float()
        count = len(x) * count_processes()  # slices of a batch are equal
        mean = sum_over_processes(x.sum(0)) / count
        centered = x - mean
        variance = sum_over_processes(centered.square().sum(0)) / count
        self._track(mean.detach(), variance.detach() * count / (count - 1))
        return (centered * torch.rsqrt(variance + self.eps)).to(input)

    @torch.no_grad()
    def _track(self, mean: Tensor, variance: Tensor) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance, self.momentum)
        self.num_batches_tracked.add_(1)
