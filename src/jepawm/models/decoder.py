"""Decoders for a trained world model: an image or a physical state from the tokens of a frame.

They show what a latent holds; nothing is planned or trained through them.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from jepawm.errors import UserError
from jepawm.models.blocks import Block
from jepawm.models.frozen.preprocessing import Normalization, restore_pixels
from jepawm.models.positions import grid_sincos


@dataclass(frozen=True, kw_only=True)
class DecoderConfig:
    """Sizes of the transformer of a decoder; the defaults are those of the released image heads."""

    depth: int = 24
    """Blocks; 12 for the head of V-JEPA 2, 6 for states."""
    width: int = 1024
    """Width of a token inside the decoder; 384 for states."""
    num_heads: int = 16
    """Attention heads."""
    mlp_ratio: float = 4.0
    """Hidden width of the feed-forward part over the width."""
    norm_eps: float = 1e-5
    """Epsilon of the layer norms (predictors use 1e-6)."""

    def __post_init__(self) -> None:
        """Check that the heads and the position table fit the width."""
        if self.width % self.num_heads or self.width % 4:
            raise UserError(
                f"decoder.width = {self.width} must be a multiple of 4 and of "
                f"decoder.num_heads = {self.num_heads}"
            )


class ImageDecoder(nn.Module):
    """Paint a frame from its tokens, patch by patch."""

    table: Tensor

    def __init__(
        self,
        config: DecoderConfig,
        *,
        latent_dim: int,
        grid: tuple[int, int],
        image_size: tuple[int, int] = (224, 224),
        patch_size: int = 8,
        normalization: Normalization = "imagenet",
    ) -> None:
        """Take the widths.

        Args:
            config: sizes of the transformer.
            latent_dim: width D of the tokens that it reads.
            grid: rows and columns of these tokens.
            image_size: height and width of the image in pixels.
            patch_size: side in pixels of the patches that it paints.
            normalization: mean and standard deviation that the encoder's input has.
        """
        super().__init__()
        if image_size[0] % patch_size or image_size[1] % patch_size:
            raise UserError(
                f"image size {image_size} is not a multiple of the decoder's patches of {patch_size}"
            )
        self.grid = grid
        self.patches = (image_size[0] // patch_size, image_size[1] // patch_size)
        self.patch_size = patch_size
        self.normalization: Normalization = normalization
        self.embed = nn.Linear(latent_dim, config.width)
        self.view_tokens = nn.Parameter(0.02 * torch.randn(1, 1, config.width))
        table = grid_sincos(self.patches, dim=config.width)
        self.register_buffer("table", table, persistent=False)
        self.blocks = _blocks(config)
        self.norm = nn.LayerNorm(config.width, eps=config.norm_eps)
        self.proj = nn.Linear(config.width, 3 * patch_size**2)

    def forward(self, tokens: Float[Tensor, "*b N D"]) -> Float[Tensor, "*b 3 height width"]:
        """Decode tokens `[*b, N, D]` into normalised images `[*b, 3, Hpx, Wpx]`."""
        patches = self.decode_patches(tokens)  # [*b, patches, pixels of a patch]
        side, (rows, columns) = self.patch_size, self.patches
        flat = patches.reshape(-1, rows, columns, side, side, 3)  # rows and columns, then inside
        images = flat.permute(0, 5, 1, 3, 2, 4).reshape(-1, 3, rows * side, columns * side)
        return images.view(*tokens.shape[:-2], *images.shape[1:])

    def decode_patches(self, tokens: Float[Tensor, "*b N D"]) -> Float[Tensor, "*b n pixels"]:
        """Decode into patches, row by row; each holds row, column and colour, in this order."""
        maps = tokens.reshape(-1, *self.grid, tokens.shape[-1]).permute(0, 3, 1, 2)
        maps = F.interpolate(maps, self.patches, mode="bilinear", align_corners=False)
        x = self.embed(maps.flatten(2).transpose(1, 2))  # [B, patches, width]
        x = x + self.table + self.view_tokens
        for block in self.blocks:
            x = block(x)
        x = self.proj(self.norm(x))
        return x.view(*tokens.shape[:-2], *x.shape[1:])

    def pixels(self, tokens: Float[Tensor, "*b N D"]) -> UInt8[Tensor, "*b 3 height width"]:
        """Decode tokens `[*b, N, D]` into an RGB image `[*b, 3, Hpx, Wpx]`, 0 to 255."""
        return restore_pixels(self(tokens), normalization=self.normalization)


class StateDecoder(nn.Module):
    """Read a physical state (or a reward) from the tokens of a frame."""

    table: Tensor

    def __init__(
        self,
        config: DecoderConfig,
        *,
        latent_dim: int,
        grid: tuple[int, int],
        state_dim: int,
    ) -> None:
        """Take the sizes of the transformer, the latent and the state."""
        super().__init__()
        self.embed = nn.Linear(latent_dim, config.width)
        self.state_token = nn.Parameter(0.02 * torch.randn(1, 1, config.width))
        self.register_buffer("table", grid_sincos(grid, dim=config.width), persistent=False)
        self.blocks = _blocks(config)
        self.state_proj = nn.Linear(config.width, state_dim)

    def forward(self, tokens: Float[Tensor, "*b N D"]) -> Float[Tensor, "*b S"]:
        """Decode tokens `[*b, N, D]` into states `[*b, S]`."""
        x = self.embed(tokens.reshape(-1, *tokens.shape[-2:])) + self.table  # [B, N, width]
        x = torch.cat([self.state_token.expand(len(x), -1, -1), x], dim=1)
        for block in self.blocks:
            x = block(x)
        state = self.state_proj(x[:, 0])
        return state.view(*tokens.shape[:-2], state.shape[-1])


def _blocks(config: DecoderConfig) -> nn.ModuleList:
    return nn.ModuleList(
        Block(
            config.width,
            config.num_heads,
            head_dim=config.width // config.num_heads,
            hidden=int(config.width * config.mlp_ratio),
            norm_eps=config.norm_eps,
        )
        for _ in range(config.depth)
    )
