"""What objectives read of a model, with random weights: a probe, a reward, an encoder of places."""

import torch
from jaxtyping import Float
from torch import Tensor

from jepawm.planning.terms.heads import Heads
from jepawm.types import Latent, Observation

_STATE_DIM = 4


def random_heads(*, num_tokens: int, dim: int, proprio_dim: int) -> Heads:
    """Return heads for latents `[N, D]` with proprio codes `[N, Dp]` and actions of one number."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(dim, _STATE_DIM, generator=generator)
    place = torch.randn(1, num_tokens, dim, generator=generator)
    code = torch.randn(1, num_tokens, proprio_dim, generator=generator)

    def probe(latents: Latent) -> Float[Tensor, "*b S"]:
        return latents.tokens.mean(-2) @ weight

    def reward(
        latents: Latent, actions: Float[Tensor, "B K H A"]
    ) -> tuple[Float[Tensor, "B K H"], Float[Tensor, "B K H"]]:
        states = probe(latents)
        return states[..., 0] - actions.square().mean(-1), states[..., 1].abs()

    def encode(_obs: Observation) -> Latent:
        return Latent(tokens=place, proprio=code if proprio_dim else None)

    return Heads(
        probe=probe, grid=(1, num_tokens), reward=lambda _name: reward, encode=encode, action_dim=1
    )
