"""A map from latents into the space of a text encoder, where a latent lies beside what is true of it."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import normalize

from jepawm.errors import UserError
from jepawm.models.proposer import TokenPool
from jepawm.models.text import TextEncoder
from jepawm.texts import TextHeadConfig
from jepawm.types import Latent

PROBE_TEXT = "a small red ball rolls to the left"
"""A sentence that tells whether a text encoder is still the one that a head was trained with."""
_FIRST_SCALE, _MOST_SCALE = 10.0, 100.0  # of cosines in the loss


@dataclass(frozen=True, kw_only=True)
class TextShape:
    """What a head fits: widths of a world model's latents and of texts."""

    num_tokens: int
    """Tokens `N` of a latent."""
    latent_dim: int
    """Width `D` of a token."""
    proprio_dim: int
    """Width of a latent's proprio code; 0 if it has none."""
    text_dim: int
    """Width `E` of a text's vector."""


class TextHead(nn.Module):
    """Map latents to unit vectors among those of texts, from which their mean is taken away."""

    input_mean: Tensor
    input_std: Tensor
    text_mean: Tensor
    probe: Tensor

    def __init__(self, config: TextHeadConfig, shape: TextShape) -> None:
        """Build the network with random weights."""
        super().__init__()
        self.config = config
        self.shape = shape
        width = shape.latent_dim
        self.pool = None
        if shape.num_tokens > 1:
            sizes = {"num_queries": config.num_queries, "out": config.width}
            self.pool = TokenPool(width, num_tokens=shape.num_tokens, **sizes)
            width = config.num_queries * config.width
        width += shape.proprio_dim
        self.register_buffer("input_mean", torch.zeros(width))
        self.register_buffer("input_std", torch.ones(width))
        self.register_buffer("text_mean", torch.zeros(shape.text_dim))
        self.register_buffer("probe", torch.zeros(shape.text_dim))
        self.log_scale = nn.Parameter(torch.tensor(_FIRST_SCALE).log())
        layers: list[nn.Module] = []
        for _ in range(config.depth):
            layers += [nn.Linear(width, config.width), nn.GELU()]
            width = config.width
        self.layers = nn.Sequential(*layers, nn.Linear(width, shape.text_dim))

    @property
    def scale(self) -> Float[Tensor, ""]:
        """Return what cosines are multiplied with in the loss."""
        return self.log_scale.exp().clamp(max=_MOST_SCALE)

    def forward(self, latents: Latent) -> Float[Tensor, "*b E"]:
        """Return where latents `[*b]` lie among texts, `[*b, E]`, of length 1."""
        seen = (self._features(latents) - self.input_mean) / self.input_std
        return normalize(self.layers(seen), dim=-1)

    def placed(self, vectors: Float[Tensor, "n E"]) -> Float[Tensor, "n E"]:
        """Return where texts `[n]` lie whose encoder gives these vectors, of length 1."""
        return normalize(vectors - self.text_mean, dim=-1)

    @torch.no_grad()
    def fit(self, latents: Latent, *, texts: Float[Tensor, "n E"], probe: Tensor) -> None:
        """Take the scales of latents `[*b]`, the mean of texts `[n]` and the probe's vector `[E]`."""
        rows = self._features(latents).flatten(0, -2)
        self.input_mean.copy_(rows.mean(0))
        self.input_std.copy_(rows.std(0).clamp(min=1e-4))
        self.text_mean.copy_(texts.mean(0))
        self.probe.copy_(probe)

    def _features(self, latents: Latent) -> Float[Tensor, "*b features"]:
        tokens, batch = latents.tokens, latents.batch_shape
        if tokens.shape[-2:] != (self.shape.num_tokens, self.shape.latent_dim):
            raise UserError(
                f"the text head is for latents of {self.shape.num_tokens} tokens of width "
                f"{self.shape.latent_dim}, and these have {tuple(tokens.shape[-2:])}; it belongs to "
                "another model"
            )
        if self.pool is None:
            parts = [tokens.squeeze(-2)]
        else:
            parts = [self.pool(tokens.flatten(0, -3)).unflatten(0, batch)]
        if latents.proprio is not None:
            parts.append(latents.proprio.mean(-2))
        return torch.cat(parts, dim=-1)


class TextReader:
    """A trained head with the encoder of its texts: what an objective reads."""

    def __init__(self, head: TextHead, encoder: TextEncoder) -> None:
        """Take both."""
        self.head = head
        self.encoder = encoder

    def __call__(self, latents: Latent) -> Float[Tensor, "*b E"]:
        """Return where latents `[*b]` lie among texts, `[*b, E]`, of length 1."""
        return self.head(latents)

    @torch.no_grad()
    def embed(self, texts: Sequence[str]) -> Float[Tensor, "n E"]:
        """Return where texts lie, `[n, E]`, of length 1."""
        return self.head.placed(self.encoder.encode(texts).to(self.head.text_mean))


def text_shape(latents: Latent, *, text_dim: int) -> TextShape:
    """Return the shape of a head for latents `[*b]` like these."""
    return TextShape(
        num_tokens=latents.tokens.shape[-2],
        latent_dim=latents.tokens.shape[-1],
        proprio_dim=0 if latents.proprio is None else latents.proprio.shape[-1],
        text_dim=text_dim,
    )
