"""A proposer: whole plans from what is seen and what is wanted, by one pass of a small network.

Each of its learned codes gives a plan of its own, so that two ways around a wall are two plans and not
their mean. It rates its plans, so that the first one can be executed unseen; a planner that has a
world model verifies and refines them.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from jepawm.errors import UserError
from jepawm.proposals import ProposerConfig
from jepawm.types import Context, Latent


@dataclass(frozen=True, kw_only=True)
class ProposerShape:
    """What a proposer must fit: the latents of its world model, its actions, its longest plan."""

    num_tokens: int
    """Visual tokens `N` of a latent."""
    latent_dim: int
    """Width `D` of each."""
    proprio_dim: int
    """Width `Dp` of a latent's proprio code; 0 if it has none."""
    action_dim: int
    """Width `A` of an action block."""
    horizon: int
    """Action blocks of its longest plan."""


class Proposer(nn.Module):
    """Map observed latents and a goal latent to one plan of action blocks for each code."""

    token_mean: Tensor
    token_std: Tensor
    proprio_mean: Tensor
    proprio_std: Tensor

    def __init__(self, config: ProposerConfig, shape: ProposerShape) -> None:
        """Build the network with random weights."""
        super().__init__()
        self.config = config
        self.shape = shape
        instants = config.window + 2  # observed ones, the goal, and the way between
        width = instants * shape.latent_dim
        self.pool = None
        if shape.num_tokens > 1:
            self.pool = TokenPool(
                width, num_tokens=shape.num_tokens, num_queries=config.num_queries, out=config.width
            )
            width = config.num_queries * config.width
        for name, size in (("token", shape.latent_dim), ("proprio", shape.proprio_dim)):
            self.register_buffer(f"{name}_mean", torch.zeros(size))
            self.register_buffer(f"{name}_std", torch.ones(size))
        self.read = nn.Linear(width + instants * shape.proprio_dim, config.width)
        self.codes = nn.Parameter(torch.randn(config.num_plans, config.width))
        self.lengths = nn.Embedding(shape.horizon, config.width)
        self.layers = nn.ModuleList(_Residual(config.width) for _ in range(config.depth))
        self.write = nn.Sequential(
            nn.LayerNorm(config.width), nn.Linear(config.width, shape.horizon * shape.action_dim)
        )
        self.rate = nn.Sequential(nn.LayerNorm(config.width), nn.Linear(config.width, 1))

    @property
    def horizon(self) -> int:
        """Return the number of action blocks of its longest plan."""
        return self.shape.horizon

    @torch.no_grad()
    def fit_inputs(self, latents: Latent) -> None:
        """Take the mean and standard deviation of each channel of latents `[*b]`."""
        parts = {"token": latents.tokens}
        if latents.proprio is not None and self.shape.proprio_dim:
            parts["proprio"] = latents.proprio
        for name, values in parts.items():
            rows = values.flatten(0, -2)  # [rows, D]
            getattr(self, f"{name}_mean").copy_(rows.mean(0))
            getattr(self, f"{name}_std").copy_(rows.std(0).clamp(min=1e-4))

    def forward(
        self, context: Context, goal: Latent, *, horizon: int
    ) -> tuple[Float[Tensor, "B K H A"], Float[Tensor, "B K"]]:
        """Return a plan for each code `[B, K, H, A]`, normalised, and its rating `[B, K]`.

        Args:
            context: what was observed, latents `[B, w]`.
            goal: where to be after the last block, `[B]`.
            horizon: blocks `H` of the plans, at most the longest.

        A rating is what the network takes the logarithm of the plan's cost to be, so lower is better.
        """
        if not 1 <= horizon <= self.horizon:
            raise UserError(
                f"the proposer plans 1 to {self.horizon} action blocks and was asked for {horizon}; "
                f"plan less far, or train one for {horizon} by --horizon {horizon}"
            )
        seen = self.read(self._features(context.latents, goal))  # [B, width]
        hidden = seen[:, None] + self.codes + self.lengths.weight[horizon - 1]  # [B, K, width]
        for layer in self.layers:
            hidden = layer(hidden)
        plans = self.write(hidden).unflatten(-1, (self.horizon, self.shape.action_dim))
        return plans[:, :, :horizon], self.rate(hidden).squeeze(-1)

    def propose(
        self, context: Context, goal: Latent, *, horizon: int, num_plans: int
    ) -> Float[Tensor, "B K H A"]:
        """Return the plans `[B, K, H, A]` that it rates best, the best one first."""
        most = self.config.num_plans
        if not 1 <= num_plans <= most:
            raise UserError(
                f"planner.num_proposals = {num_plans}, and this proposer makes {most} plans; ask for "
                f"1 to {most}, or train one with --proposer.num-plans {num_plans}"
            )
        plans, ratings = self(context, goal, horizon=horizon)
        best = ratings.topk(num_plans, dim=1, largest=False).indices  # [B, K]
        return plans.gather(1, best[:, :, None, None].expand(-1, -1, *plans.shape[2:]))

    def _features(self, latents: Latent, goal: Latent) -> Float[Tensor, "B features"]:
        """Return what the layers see of latents `[B, w]` and goals `[B]`."""
        seen, wanted = latents.tokens, goal.tokens
        tokens = _side_by_side(
            (seen - self.token_mean) / self.token_std,
            (wanted - self.token_mean) / self.token_std,
            window=self.config.window,
        )
        parts = [tokens.flatten(1) if self.pool is None else self.pool(tokens)]
        if latents.proprio is not None and goal.proprio is not None:
            codes = [
                (one.mean(-2) - self.proprio_mean) / self.proprio_std  # one for each instant
                for one in (latents.proprio, goal.proprio)
            ]
            parts.append(_side_by_side(*codes, window=self.config.window))
        return torch.cat(parts, dim=-1)


def shape_of(latents: Latent, *, action_dim: int, horizon: int) -> ProposerShape:
    """Return the shape of a proposer for latents `[*b]` like these."""
    return ProposerShape(
        num_tokens=latents.tokens.shape[-2],
        latent_dim=latents.tokens.shape[-1],
        proprio_dim=0 if latents.proprio is None else latents.proprio.shape[-1],
        action_dim=action_dim,
        horizon=horizon,
    )


def _side_by_side(
    seen: Float[Tensor, "B w *n D"], goal: Float[Tensor, "B *n D"], *, window: int
) -> Float[Tensor, "B *n wide"]:
    """Join the last `window` codes, the goal's and the way from the last to it, channel by channel."""
    last = seen[:, -window:]
    missing = window - last.shape[1]
    first = last[:, :1].expand(-1, missing, *last.shape[2:])
    instants = [*torch.cat([first, last], dim=1).unbind(1), goal, goal - last[:, -1]]
    return torch.cat(instants, dim=-1)


class TokenPool(nn.Module):
    """Gather tokens `[B, N, width]` at learned places into one vector `[B, queries * out]`."""

    def __init__(self, width: int, *, num_tokens: int, num_queries: int, out: int) -> None:
        """Take the width of tokens, their number, and how many places of which width come out."""
        super().__init__()
        self.read = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, out))
        self.places = nn.Parameter(0.02 * torch.randn(num_tokens, out))
        self.queries = nn.Parameter(torch.randn(num_queries, out))
        self.keys = nn.Linear(out, out)
        self.values = nn.Sequential(nn.GELU(), nn.Linear(out, out))

    def forward(self, tokens: Float[Tensor, "B N width"]) -> Float[Tensor, "B pooled"]:
        """Return what the queries found, side by side `[B, queries * out]`."""
        hidden = self.read(tokens) + self.places
        scores = self.queries @ self.keys(hidden).mT * hidden.shape[-1] ** -0.5  # [B, queries, N]
        return (scores.softmax(-1) @ self.values(hidden)).flatten(1)


class _Residual(nn.Module):
    """Add what a hidden layer makes of the normalised input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def forward(self, hidden: Float[Tensor, "*b width"]) -> Float[Tensor, "*b width"]:
        return hidden + self.net(hidden)
