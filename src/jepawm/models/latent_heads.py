"""Heads that read what a latent holds: a picture or a state, from its tokens and its proprio code.

They are trained for one frozen world model and show what it sees and imagines; nothing is planned or
trained through them. A latent of one token goes through a few dense layers, which is a tenth of the
work of a transformer; a grid of tokens through the transformers of `decoder.py`.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from jepawm.decoding import DecodingConfig
from jepawm.errors import UserError
from jepawm.models.decoder import DecoderConfig, ImageDecoder, StateDecoder
from jepawm.types import Latent

Kind = Literal["pixels", "states"]
"""What a head reads."""

_SCALE = 127.5  # pixels between the mean frame and what a network's 1 stands for


@dataclass(frozen=True, kw_only=True)
class HeadShape:
    """What a head must fit: the latents of its world model, and what it reads."""

    kind: Kind
    """What it reads."""
    grid: tuple[int, int]
    """Rows and columns of visual tokens; (1, 1) for one token."""
    latent_dim: int
    """Width `D` of each."""
    proprio_dim: int
    """Width `Dp` of a latent's proprio code; 0 if it has none."""
    output: tuple[int, ...]
    """Shape of what is read: `[3, Hpx, Wpx]` or `[S]`."""

    @property
    def width(self) -> int:
        """Return the width of a token with the proprio code beside it."""
        return self.latent_dim + self.proprio_dim


class LatentHead(nn.Module):
    """Read pictures or states out of latents."""

    input_mean: Tensor
    input_std: Tensor
    output_mean: Tensor
    output_std: Tensor

    def __init__(self, config: DecodingConfig, shape: HeadShape) -> None:
        """Build the network with random weights; `fit_scales` sets its units."""
        super().__init__()
        self.shape = shape
        self.register_buffer("input_mean", torch.zeros(shape.width))
        self.register_buffer("input_std", torch.ones(shape.width))
        self.register_buffer("output_mean", torch.zeros(shape.output))
        spread = (1,) if shape.kind == "pixels" else shape.output
        self.register_buffer("output_std", torch.ones(spread))
        self.net = _network(config, shape)

    def forward(self, latents: Latent) -> Float[Tensor, "..."]:
        """Read latents `[*b]`: pictures `[*b, 3, Hpx, Wpx]`, 0 to 255 and beyond, or states `[*b, S]`."""
        return self.output_mean + self.output_std * self.net(self._inputs(latents))

    def pixels(self, latents: Latent) -> UInt8[Tensor, "*b 3 height width"]:
        """Return the pictures `[*b, 3, Hpx, Wpx]` of latents `[*b]`."""
        return self(latents).clamp(0, 255).round().to(torch.uint8)

    def fit_scales(self, latents: Latent, targets: Float[Tensor, "n *output"]) -> None:
        """Take means and deviations of latents `[n]` and of what they should be read as."""
        inputs = join_codes(latents).flatten(0, -2)
        self.input_mean.copy_(inputs.mean(0))
        self.input_std.copy_(inputs.std(0).clamp(min=1e-4))
        self.output_mean.copy_(targets.mean(0))
        if self.shape.kind == "pixels":
            self.output_std.fill_(_SCALE)
        else:
            self.output_std.copy_(targets.std(0).clamp(min=1e-6))

    def _inputs(self, latents: Latent) -> Float[Tensor, "*b N C"]:
        return (join_codes(latents) - self.input_mean) / self.input_std


def join_codes(latents: Latent) -> Float[Tensor, "*b N C"]:
    """Return tokens `[*b, N, D + Dp]` with the proprio code beside each; alone where there is none."""
    tokens, code = latents.tokens, latents.proprio
    if code is None:
        return tokens
    return torch.cat([tokens, code.expand(*tokens.shape[:-1], code.shape[-1])], dim=-1)


def shape_of(latents: Latent, *, grid: tuple[int, int], kind: Kind, target: Tensor) -> HeadShape:
    """Return the shape of a head that reads targets `[n, ...]` out of latents `[n]`."""
    return HeadShape(
        kind=kind,
        grid=(grid[0], grid[1]),
        latent_dim=latents.tokens.shape[-1],
        proprio_dim=0 if latents.proprio is None else latents.proprio.shape[-1],
        output=tuple(target.shape[1:]),
    )


def _network(config: DecodingConfig, shape: HeadShape) -> nn.Module:
    sizes = DecoderConfig(depth=config.depth, width=config.width, num_heads=4)
    if shape.kind == "states":
        if shape.grid == (1, 1):
            return _Dense(config, shape.width, out=shape.output[0])
        return StateDecoder(
            sizes, latent_dim=shape.width, grid=shape.grid, state_dim=shape.output[0]
        )
    _, height, width = shape.output
    if height % config.patch_size or width % config.patch_size:
        raise UserError(
            f"decoder.patch_size = {config.patch_size} does not divide frames of {height} x {width} "
            "pixels; give a divisor of both"
        )
    if shape.grid == (1, 1):
        return _Painter(config, shape.width, size=(height, width))
    return ImageDecoder(
        sizes,
        latent_dim=shape.width,
        grid=shape.grid,
        image_size=(height, width),
        patch_size=config.patch_size,
    )


class _Dense(nn.Module):
    """Dense layers from the one token of a latent."""

    def __init__(self, config: DecodingConfig, width: int, *, out: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for _ in range(config.depth):
            layers += [nn.Linear(width, config.width), nn.GELU()]
            width = config.width
        self.layers = nn.Sequential(*layers, nn.Linear(width, out))

    def forward(self, tokens: Float[Tensor, "*b 1 C"]) -> Float[Tensor, "*b out"]:
        return self.layers(tokens.squeeze(-2))


class _Painter(nn.Module):
    """Dense layers from one token to some numbers for each patch, which is painted from them."""

    def __init__(self, config: DecodingConfig, width: int, *, size: tuple[int, int]) -> None:
        super().__init__()
        side = config.patch_size
        self.side, self.grid = side, (size[0] // side, size[1] // side)
        self.channels = config.channels
        self.read = _Dense(config, width, out=self.grid[0] * self.grid[1] * config.channels)
        self.paint = nn.Sequential(
            nn.GELU(),
            nn.Linear(config.channels, 4 * config.channels),
            nn.GELU(),
            nn.Linear(4 * config.channels, 3 * side**2),
        )

    def forward(self, tokens: Float[Tensor, "*b 1 C"]) -> Float[Tensor, "*b 3 height width"]:
        (rows, columns), side = self.grid, self.side
        patches = self.paint(self.read(tokens).reshape(-1, rows, columns, self.channels))
        flat = patches.view(-1, rows, columns, side, side, 3).permute(0, 5, 1, 3, 2, 4)
        return flat.reshape(*tokens.shape[:-2], 3, rows * side, columns * side)
