"""Curvature and step distance against numbers worked out by hand."""

import pytest
import torch

from jepawm.models.heads import StepDistanceHead
from jepawm.training.path_losses import curvature, step_distance_loss
from jepawm.types import Latent


def _path(*points) -> Latent:
    return Latent(tokens=torch.tensor(points)[None, :, None])  # [1, T+1, 1, D]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (_path([0.0, 0.0], [1.0, 1.0], [3.0, 3.0]), 0.0),
        (_path([0.0, 0.0], [1.0, 0.0], [1.0, 2.0]), 1.0),
        (_path([0.0, 0.0], [1.0, 0.0], [0.0, 0.0]), 2.0),
        (_path([0.0, 0.0], [1.0, 0.0]), 0.0),
    ],
)
def test_curvature(path, expected):
    assert float(curvature(path)) == pytest.approx(expected, abs=1e-6)


def test_step_distance_counts_all_pairs_and_other_windows():
    """A head that always says 2: near pairs of 2 steps, far pairs count as 3."""
    latents = Latent(tokens=torch.randn(4, 3, 1, 5))
    loss = step_distance_loss(lambda before, after: before.tokens[..., 0, 0] * 0 + 2.0, latents)
    near = [(2.0 - steps) ** 2 for steps in (0, 1, 2, 0, 1, 0)]
    assert float(loss) == pytest.approx(sum(near) / 6 + 1.0)


def test_the_head_learns_to_count_and_leaves_the_latents_alone():
    """Points that move by one in every step along a line of random direction."""
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    head = StepDistanceHead(latent_dim=2, hidden=32)
    optimizer = torch.optim.Adam(head.parameters(), lr=5e-3)
    for _ in range(400):
        angle = 6.3 * torch.rand(64, 1, generator=generator)
        time = torch.arange(5.0)
        start = 10 * torch.randn(64, 1, 2, generator=generator)
        path = start + torch.stack([angle.cos() * time, angle.sin() * time], -1)
        latents = Latent(tokens=path[:, :, None].requires_grad_())
        optimizer.zero_grad()
        loss = step_distance_loss(head, latents)
        loss.backward()
        optimizer.step()
    assert latents.tokens.grad is None
    here = Latent(tokens=torch.zeros(1, 1, 2))
    there = Latent(tokens=torch.tensor([[0.0, 0.0], [2.0, 0.0], [4.0, 0.0]])[:, None])
    with torch.no_grad():
        assert head(here, there).tolist() == pytest.approx([0.0, 2.0, 4.0], abs=0.8)
