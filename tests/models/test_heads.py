"""Heads: the probe recovers a known map, inverse dynamics learns a known action."""

import torch

from jepawm.models.heads import InverseDynamics, LinearProbe
from jepawm.types import Latent


def latents_of(*shape: int, seed: int = 0) -> Latent:
    return Latent(tokens=torch.randn(*shape, generator=torch.Generator().manual_seed(seed)))


def test_probe_recovers_an_affine_map():
    latents = latents_of(500, 2, 3)
    weight = torch.randn(2, 6, generator=torch.Generator().manual_seed(1))
    states = latents.tokens.flatten(1) @ weight.T + torch.tensor([3.0, -7.0])
    probe = LinearProbe.fit(latents, states, ridge=1e-8)
    torch.testing.assert_close(probe.weight, weight, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(probe.bias, torch.tensor([3.0, -7.0]), atol=1e-4, rtol=1e-4)
    fresh = latents_of(4, 5, 2, 3, seed=2)
    expected = fresh.tokens.flatten(-2) @ weight.T + torch.tensor([3.0, -7.0])
    torch.testing.assert_close(probe(fresh), expected, atol=1e-3, rtol=1e-3)


def test_ridge_shrinks_the_weights():
    latents = latents_of(500, 1, 3)
    states = latents.tokens.flatten(1)[:, :1]
    half = LinearProbe.fit(latents, states, ridge=1.0)
    assert 0.45 < half.weight[0, 0] < 0.55


def test_probe_of_latents_without_variance_answers_the_mean():
    latents = Latent(tokens=torch.ones(10, 1, 4))
    states = torch.arange(20.0).view(10, 2)
    probe = LinearProbe.fit(latents, states)
    torch.testing.assert_close(probe(latents), states.mean(0).expand(10, 2))


def test_inverse_dynamics_learns_a_difference():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        head = InverseDynamics(latent_width=2, action_dim=2, hidden=32)
    before, after = latents_of(256, 1, 2), latents_of(256, 1, 2, seed=1)
    actions = (after.tokens - before.tokens).flatten(1)
    optimizer = torch.optim.Adam(head.parameters(), lr=1e-2)
    for _ in range(150):
        loss = (head(before, after) - actions).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.05 * actions.square().mean().item()


def test_a_probe_of_more_features_than_samples_is_the_same_ridge_regression():
    """Both systems of equations have one solution; tokens of a vision transformer need the dual."""
    latents = latents_of(12, 4, 10)
    states = torch.randn(12, 2, generator=torch.Generator().manual_seed(3))
    probe = LinearProbe.fit(latents, states, ridge=0.1)
    features = latents.tokens.flatten(1).double()
    features = features - features.mean(0)
    covariance = features.T @ features / 12
    penalty = 0.1 * covariance.diagonal().mean()
    cross = features.T @ (states.double() - states.double().mean(0)) / 12
    weight = torch.linalg.solve(covariance + penalty * torch.eye(40, dtype=torch.float64), cross).T
    torch.testing.assert_close(probe.weight, weight.float(), atol=1e-5, rtol=1e-4)
