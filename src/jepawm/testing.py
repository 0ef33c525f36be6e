"""What a test of a planner needs: problems whose optimum is known."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Quadratic:
    """Cost of a plan: its squared distance to the optimum; the least cost is 0."""

    optimum: Float[Tensor, "B H A"]
    """The best plans `[B, H, A]`."""

    def __call__(self, actions: Float[Tensor, "B K H A"]) -> Float[Tensor, "B K"]:
        """Return costs `[B, K]` of plans `[B, K, H, A]`."""
        return (actions - self.optimum[:, None]).square().sum((-2, -1))


@dataclass(frozen=True, kw_only=True)
class WalledPointMass:
    """A linear point mass that is to pass through the door of a wall and stop at its goal.

    Actions are accelerations; velocity and position add them up, from rest at the start. The cost
    is the squared distance of the last position to the goal plus, for each step that crosses the
    line x = 0, the squared distance of the crossing to the door. The least cost is 0: the goal is
    reached through the door.
    """

    start: Float[Tensor, "B 2"]
    """Start `[B, 2]`."""
    goal: Float[Tensor, "B 2"]
    """Goal `[B, 2]`."""
    door: Float[Tensor, " B"]
    """Height `[B]` of the middle of the door."""
    half_width: float = 0.3
    """Half the height of the door."""
    time_step: float = 0.5
    """Time between two accelerations."""

    def positions(self, actions: Float[Tensor, "B K H 2"]) -> Float[Tensor, "B K T 2"]:
        """Return the positions `[B, K, H+1, 2]` under accelerations `[B, K, H, 2]`."""
        velocity = self.time_step * actions.cumsum(2)
        moved = self.start[:, None, None] + self.time_step * velocity.cumsum(2)
        first = self.start[:, None, None].expand(-1, actions.shape[1], 1, -1)
        return torch.cat([first, moved], dim=2)

    def __call__(self, actions: Float[Tensor, "B K H 2"]) -> Float[Tensor, "B K"]:
        """Return costs `[B, K]` of accelerations `[B, K, H, 2]`."""
        x, y = self.positions(actions).unbind(-1)  # [B, K, H+1] each
        crosses = x[..., 1:].sign() != x[..., :-1].sign()
        step = x[..., 1:] - x[..., :-1]
        part = torch.where(crosses, -x[..., :-1] / torch.where(crosses, step, 1.0), 0.0)
        height = y[..., :-1] + part * (y[..., 1:] - y[..., :-1])
        missed = ((height - self.door[:, None, None]).abs() - self.half_width).clamp(min=0.0)
        distance = (torch.stack([x, y], -1)[..., -1, :] - self.goal[:, None]).square().sum(-1)
        return distance + torch.where(crosses, missed, 0.0).square().sum(-1)
