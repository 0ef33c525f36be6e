"""Small heads beside the world model: inverse dynamics and linear probes."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from jepawm.types import Latent


class InverseDynamics(nn.Module):
    """Predict the action block between two latents (PLDM); keeps latents about what actions move."""

    def __init__(self, *, latent_width: int, action_dim: int, hidden: int = 128) -> None:
        """Take the flat latent width `N * D` and the action block width `A`."""
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(2 * latent_width, hidden), nn.GELU(), nn.Linear(hidden, action_dim)
        )

    def forward(self, before: Latent, after: Latent) -> Float[Tensor, "*b A"]:
        """Return actions `[*b, A]` that lead from latents `before` to latents `after`, `[*b]`."""
        pair = torch.cat([before.tokens.flatten(-2), after.tokens.flatten(-2)], dim=-1)
        return self.net(pair)


class LinearProbe(nn.Module):
    """Read a physical state from a latent by one affine map, fitted by ridge regression."""

    def __init__(self, *, latent_width: int, state_dim: int) -> None:
        """Take the flat latent width `N * D` and the state width `S`."""
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(state_dim, latent_width), requires_grad=False)
        self.bias = nn.Parameter(torch.zeros(state_dim), requires_grad=False)

    def forward(self, latents: Latent) -> Float[Tensor, "*b S"]:
        """Return states `[*b, S]` of latents `[*b]`."""
        return torch.nn.functional.linear(latents.tokens.flatten(-2), self.weight, self.bias)

    @classmethod
    def fit(
        cls, latents: Latent, states: Float[Tensor, "n S"], *, ridge: float = 1e-3
    ) -> "LinearProbe":
        """Fit to latents `[n]` and states `[n, S]`; `ridge` is relative to the feature variance."""
        features = latents.tokens.flatten(-2).double()
        targets = states.double()
        center, offset = features.mean(0), targets.mean(0)
        covariance = (features - center).T @ (features - center) / len(features)
        cross = (features - center).T @ (targets - offset) / len(features)
        penalty = ridge * covariance.diagonal().mean() + 1e-12  # collapsed latents: not singular
        identity = torch.eye(len(covariance), dtype=torch.float64, device=covariance.device)
        weight = torch.linalg.solve(covariance + penalty * identity, cross).T
        probe = cls(latent_width=features.shape[1], state_dim=targets.shape[1])
        probe.weight.data = weight.float()
        probe.bias.data = (offset - weight @ center).float()
        return probe
