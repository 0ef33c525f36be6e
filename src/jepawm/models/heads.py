"""Small heads on the world model: inverse dynamics, step distance and linear probes."""

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


class StepDistanceHead(nn.Module):
    """Predict how many action blocks separate two latents: the distance to act, not to see."""

    def __init__(self, *, latent_dim: int, hidden: int = 128) -> None:
        """Take the token width `D`; tokens at the same place are compared, then averaged."""
        super().__init__()
        self.compare = nn.Sequential(
            nn.Linear(3 * latent_dim, hidden), nn.GELU(), nn.Linear(hidden, hidden), nn.GELU()
        )
        self.count = nn.Sequential(
            nn.Linear(hidden, hidden), nn.GELU(), nn.Linear(hidden, 1), nn.Softplus()
        )

    def forward(self, before: Latent, after: Latent) -> Float[Tensor, "*b"]:
        """Return the number of blocks `[*b]`, 0 or more, from latents `before` to `after` `[*b]`.

        The batch shapes may differ by axes of length 1.
        """
        start, end = torch.broadcast_tensors(before.tokens, after.tokens)  # [*b, N, D]
        compared = self.compare(torch.cat([start, end, end - start], dim=-1))
        return self.count(compared.mean(-2)).squeeze(-1)


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
        weight = _ridge(features.sub_(center), targets - offset, ridge=ridge)
        probe = cls(latent_width=features.shape[1], state_dim=targets.shape[1])
        probe.weight.data = weight.float()
        probe.bias.data = (offset - weight @ center).float()
        return probe


def _ridge(
    features: Float[Tensor, "n D"], targets: Float[Tensor, "n S"], *, ridge: float
) -> Float[Tensor, "S D"]:
    """Return the ridge regression of centred targets on centred features.

    The smaller of the two systems of equations is solved, D x D or n x n; both have one solution.
    """
    count, width = features.shape
    penalty = ridge * features.square().mean() + 1e-12  # collapsed latents: not singular
    wide = width > count
    gram = (features @ features.T if wide else features.T @ features) / count
    gram.diagonal().add_(penalty)
    if wide:
        return (features.T @ torch.linalg.solve(gram, targets / count)).T
    return torch.linalg.solve(gram, features.T @ targets / count).T
