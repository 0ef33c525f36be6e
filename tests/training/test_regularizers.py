"""SIGReg, VICReg, step distance and effective rank against direct computations."""

import math

import pytest
import torch

from jepawm.models.heads import StepDistanceHead
from jepawm.training.regularizers import effective_rank, sigreg, step_distance_loss, vicreg
from jepawm.types import Latent


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def sigreg_of(latents: torch.Tensor, *, num_directions: int = 64) -> float:
    generator = torch.Generator().manual_seed(1)
    return sigreg(latents, num_directions=num_directions, generator=generator).item()


def test_sigreg_is_the_integral_of_the_characteristic_functions():
    """One dimension has the directions +1 and -1, which give the same integral."""
    sample = randn(50) * 0.7 + 0.3
    t = torch.linspace(-3, 3, 33, dtype=torch.float64)
    phi = torch.exp(1j * t[:, None] * sample.double()).mean(1)
    normal = torch.exp(-(t**2) / 2)
    integrand = (phi - normal).abs() ** 2 * normal
    expected = 50 * torch.trapezoid(integrand, t).item()
    found = sigreg_of(sample.view(1, 50, 1), num_directions=3)
    assert math.isclose(found, expected, rel_tol=1e-4)


def test_sigreg_of_constant_latents_is_known():
    """All at zero: phi is 1, the integral of (1 - g)^2 g is known to five digits."""
    integral = 3.0 * torch.linspace(-1, 1, 33, dtype=torch.float64)
    normal = torch.exp(-(integral**2) / 2)
    expected = 40 * torch.trapezoid((1 - normal) ** 2 * normal, integral).item()
    assert math.isclose(sigreg_of(torch.zeros(2, 40, 3)), expected, rel_tol=1e-4)


def test_sigreg_tells_normal_from_collapsed_latents():
    normal = sigreg_of(randn(2, 2000, 8))
    collapsed, shifted = sigreg_of(0.01 * randn(2, 2000, 8)), sigreg_of(randn(2, 2000, 8) + 1)
    flat = torch.cat([randn(2, 2000, 4), torch.zeros(2, 2000, 4)], dim=-1)
    assert normal < 2
    assert collapsed > 100 * normal
    assert shifted > 10 * normal
    assert sigreg_of(flat) > 10 * normal


def test_sigreg_averages_groups():
    first, second = randn(1, 100, 4), randn(1, 100, 4, seed=1) * 2
    both = sigreg_of(torch.cat([first, second]))
    assert math.isclose(both, (sigreg_of(first) + sigreg_of(second)) / 2, rel_tol=1e-5)


def test_sigreg_pushes_collapsed_latents_apart():
    latents = (0.1 * randn(1, 200, 4)).requires_grad_()
    sigreg(latents, num_directions=64, generator=torch.Generator().manual_seed(0)).backward()
    assert latents.grad is not None
    assert (latents.grad * latents).sum() < 0  # descending makes them longer


def test_vicreg_by_hand():
    """Columns with variances 8/3 and 2/3 and covariance 4/3 (three samples away from the mean)."""
    latents = torch.tensor([[[2.0, 1.0], [-2.0, -1.0], [0.0, 0.0], [0.0, 0.0]]])
    hinge = (0 + 1 - math.sqrt(2 / 3 + 1e-4)) / 2
    covariance = 2 * (4 / 3) ** 2 / 2
    for weight in (0.0, 1.0, 2.5):
        found = vicreg(latents, covariance_weight=weight).item()
        assert math.isclose(found, hinge + weight * covariance, rel_tol=1e-5)
    assert math.isclose(
        vicreg(torch.zeros(3, 5, 4), covariance_weight=1.0).item(), 0.99, rel_tol=1e-5
    )


def test_vicreg_of_decorrelated_latents_is_zero():
    signs = torch.tensor([[1.0, 1], [1, -1], [-1, 1], [-1, -1]])[None] * 1.25  # no digit is lost
    assert vicreg(signs, covariance_weight=1.0).item() == 0


def test_effective_rank_of_isotropic_and_of_rank_one_latents():
    isotropic = torch.cat([torch.eye(5), -torch.eye(5)])
    assert math.isclose(effective_rank(isotropic), 5, rel_tol=1e-6)
    line = randn(20, 1) @ randn(1, 5) + 3
    assert math.isclose(effective_rank(line), 1, rel_tol=1e-3)
    assert math.isclose(effective_rank(torch.ones(20, 5)), 1)
    assert 4.9 < effective_rank(randn(2000, 5)) < 5


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
