"""What objectives read of a model, with random weights: a probe, a reward, a map to texts, places."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

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
        probe=probe,
        grid=(1, num_tokens),
        reward=lambda _name: reward,
        text=lambda _name: _RandomTexts(dim),
        encode=encode,
        action_dim=1,
    )


class _RandomTexts:
    """Take the mean token for where a latent lies, and put texts at random places."""

    def __init__(self, dim: int) -> None:
        self._dim = dim

    def __call__(self, latents: Latent) -> Float[Tensor, "*b E"]:
        return normalize(latents.tokens.mean(-2), dim=-1)

    def embed(self, texts: Sequence[str]) -> Float[Tensor, "n E"]:
        drawn = torch.randn(len(texts), self._dim, generator=torch.Generator().manual_seed(0))
        return normalize(drawn, dim=-1)
