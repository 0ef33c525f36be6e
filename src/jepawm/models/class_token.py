"""A vision transformer that is read at its class token: LeWorldModel's encoder, one token a frame."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from jepawm.errors import UserError, require_range
from jepawm.models.blocks import Block
from jepawm.models.projector import Projector

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet
_EPS = 1e-12


@dataclass(frozen=True, kw_only=True)
class ClassTokenConfig:
    """Sizes of a vision transformer whose class token, projected, is the latent."""

    dim: int = 192
    """Width D of the token."""
    width: int = 192
    """Width of the transformer."""
    depth: int = 12
    """Blocks."""
    num_heads: int = 3
    """Attention heads."""
    hidden_dim: int | None = None
    """Width of the feed-forward layers; None: four times the width."""
    patch_size: int = 14
    """Side in pixels of a patch."""
    image_size: int = 224
    """Side in pixels that images are resized to if they differ."""
    projector_dim: int = 2048
    """Hidden width of the projector behind the class token."""

    def __post_init__(self) -> None:
        """Check sizes."""
        sizes = ("dim", "width", "depth", "num_heads", "patch_size", "image_size", "projector_dim")
        require_range(self, (*sizes, "hidden_dim"), where="encoder", least=1, most=2**16)
        for size, part in (("image_size", "patch_size"), ("width", "num_heads")):
            if getattr(self, size) % getattr(self, part):
                raise UserError(
                    f"encoder.{size} = {getattr(self, size)} is not a multiple of encoder.{part} = "
                    f"{getattr(self, part)}; change one of them"
                )

    def build(self) -> "ClassTokenEncoder":
        """Build the encoder with random weights."""
        return ClassTokenEncoder(self)


class ClassTokenEncoder(nn.Module):
    """Cut images into patches, attend, and project the class token."""

    num_tokens, grid = 1, (1, 1)

    def __init__(self, config: ClassTokenConfig) -> None:
        """Take the sizes."""
        super().__init__()
        self.config, self.dim = config, config.dim
        width, side = config.width, config.image_size // config.patch_size
        self.patches = nn.Conv2d(3, width, config.patch_size, stride=config.patch_size)
        self.class_token = nn.Parameter(torch.zeros(1, 1, width))
        self.positions = nn.Parameter(0.02 * torch.randn(1, 1 + side**2, width))
        self.blocks = nn.ModuleList(
            Block(
                width,
                config.num_heads,
                head_dim=width // config.num_heads,
                hidden=config.hidden_dim or 4 * width,
                norm_eps=_EPS,
            )
            for _ in range(config.depth)
        )
        self.norm = nn.LayerNorm(width, eps=_EPS)
        self.projector = Projector(width, config.projector_dim, dim=config.dim)
        self.mean: Tensor
        self.std: Tensor
        for name, values in (("mean", _MEAN), ("std", _STD)):
            self.register_buffer(name, torch.tensor(values).view(3, 1, 1), persistent=False)

    def forward(self, pixels: UInt8[Tensor, "*b 3 height width"]) -> Float[Tensor, "*b 1 D"]:
        """Encode images `[*b, 3, Hpx, Wpx]`, uint8, into one token each."""
        flat = pixels.reshape(-1, *pixels.shape[-3:]).to(self.class_token.dtype) / 255
        images = (flat - self.mean) / self.std
        size = (self.config.image_size, self.config.image_size)
        if images.shape[-2:] != size:
            images = F.interpolate(
                images, size, mode="bilinear", align_corners=False, antialias=True
            )
        patches = self.patches(images).flatten(2).transpose(1, 2)  # [B, n, width]
        tokens = torch.cat([self.class_token.expand(len(patches), -1, -1), patches], dim=1)
        tokens = tokens + self.positions
        for block in self.blocks:
            tokens = block(tokens)
        found = self.projector(self.norm(tokens[:, :1]))  # [B, 1, D]
        return found.reshape(*pixels.shape[:-3], 1, self.dim)
