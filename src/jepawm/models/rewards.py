"""A learned reward: an ensemble of small networks on latents, whose disagreement tells what is unknown."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import gelu

from jepawm.errors import UserError
from jepawm.models.proposer import TokenPool
from jepawm.rewards import RewardHeadConfig
from jepawm.types import Latent


@dataclass(frozen=True, kw_only=True)
class RewardShape:
    """What a reward fits: widths of a world model's latents and actions."""

    num_tokens: int
    """Tokens `N` of a latent."""
    latent_dim: int
    """Width `D` of a token."""
    proprio_dim: int
    """Width of a latent's proprio code; 0 if it has none."""
    action_dim: int
    """Width `A` of an action block."""


class RewardEnsemble(nn.Module):
    """Map latents, and the action blocks that led to them, to a reward and its uncertainty."""

    input_mean: Tensor
    input_std: Tensor
    scale: Tensor
    offset: Tensor

    def __init__(
        self, config: RewardHeadConfig, shape: RewardShape, *, is_chance: bool = False
    ) -> None:
        """Build the networks with random weights; `is_chance`: the reward is a chance, 0 to 1."""
        super().__init__()
        self.config = config
        self.shape = shape
        self.is_chance = is_chance
        width = shape.latent_dim
        self.pool = None
        if shape.num_tokens > 1:
            sizes = {"num_queries": config.num_queries, "out": config.width}
            self.pool = TokenPool(width, num_tokens=shape.num_tokens, **sizes)
            width = config.num_queries * config.width
        width += shape.proprio_dim
        width += shape.action_dim if config.inputs == "latent_action" else 0
        self.register_buffer("input_mean", torch.zeros(width))
        self.register_buffer("input_std", torch.ones(width))
        self.register_buffer("scale", torch.ones(()))
        self.register_buffer("offset", torch.zeros(()))
        sizes = [width, *[config.width] * config.depth, 1]
        members = config.num_members
        self.weights = nn.ParameterList(
            torch.randn(members, sizes[i], sizes[i + 1]) * (2.0 / sizes[i]) ** 0.5
            for i in range(len(sizes) - 1)
        )
        self.biases = nn.ParameterList(torch.zeros(members, size) for size in sizes[1:])

    def forward(
        self, latents: Latent, actions: Float[Tensor, "*b A"]
    ) -> tuple[Float[Tensor, "*b"], Float[Tensor, "*b"]]:
        """Return the mean of the members and their standard deviation, of latents `[*b]`.

        `actions` are the blocks that led there, normalised.
        """
        each = self.members(latents, actions)  # [*b, E]
        each = each.sigmoid() if self.is_chance else each
        return each.mean(-1), each.std(-1, correction=0)

    def members(
        self, latents: Latent, actions: Float[Tensor, "*b A"]
    ) -> Float[Tensor, "*b members"]:
        """Return what each member says of latents `[*b]`; a logit where the reward is a chance."""
        seen = (self.features(latents, actions) - self.input_mean) / self.input_std
        members, rows = self.config.num_members, seen.flatten(0, -2)  # [n, in]
        hidden = rows.expand(
            members, *rows.shape
        )  # [E, n, in]: each member has products of its own
        for depth, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            hidden = torch.baddbmm(bias[:, None], gelu(hidden) if depth else hidden, weight)
        each = hidden.squeeze(-1).mT.unflatten(0, seen.shape[:-1])  # [*b, E]
        return self.offset + self.scale * each

    def features(
        self, latents: Latent, actions: Float[Tensor, "*b A"]
    ) -> Float[Tensor, "*b features"]:
        """Return what the networks see, not yet scaled."""
        tokens, batch = latents.tokens, latents.batch_shape
        if tokens.shape[-2:] != (self.shape.num_tokens, self.shape.latent_dim):
            raise UserError(
                f"the reward is for latents of {self.shape.num_tokens} tokens of width "
                f"{self.shape.latent_dim}, and these have {tuple(tokens.shape[-2:])}; it belongs to "
                "another model"
            )
        if self.pool is None:
            parts = [tokens.squeeze(-2)]
        else:
            parts = [self.pool(tokens.flatten(0, -3)).unflatten(0, batch)]
        if latents.proprio is not None:
            parts.append(latents.proprio.mean(-2))
        if self.config.inputs == "latent_action":
            parts.append(actions)
        return torch.cat(parts, dim=-1)

    @torch.no_grad()
    def fit_inputs(self, latents: Latent, actions: Float[Tensor, "*b A"]) -> None:
        """Take the mean and standard deviation of what is seen of latents `[*b]`."""
        rows = self.features(latents, actions).flatten(0, -2)
        self.input_mean.copy_(rows.mean(0))
        self.input_std.copy_(rows.std(0).clamp(min=1e-4))


def reward_shape(latents: Latent, *, action_dim: int) -> RewardShape:
    """Return the shape of a reward for latents `[*b]` like these."""
    return RewardShape(
        num_tokens=latents.tokens.shape[-2],
        latent_dim=latents.tokens.shape[-1],
        proprio_dim=0 if latents.proprio is None else latents.proprio.shape[-1],
        action_dim=action_dim,
    )
