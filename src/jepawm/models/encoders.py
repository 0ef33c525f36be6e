"""Encoders of images: small ones that are learned from scratch."""

from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from jepawm.errors import UserError, require_range
from jepawm.models.blocks import Block
from jepawm.models.positions import frame_grid_sincos
from jepawm.processes import count_processes, sum_over_processes

_PIXEL_MEAN, _PIXEL_STD = 0.5, 0.5
_CONV_CHANNELS = {"S": (32, 64, 64), "B": (48, 96, 128), "L": (64, 128, 256)}
VIT_SHAPES = {"S": (128, 4, 4), "B": (192, 6, 6), "L": (384, 8, 6)}
"""Width, depth and heads of the small vision transformer by size."""
_EPS = 1e-8  # tokens of a small object begin with a variance of 1e-6


@dataclass(frozen=True, kw_only=True)
class EncoderConfig:
    """Which encoder maps images to tokens."""

    family: Literal["conv", "vit"] = "conv"
    """conv: strided convolutions; vit: vision transformer; both learned with the predictor."""
    size: Literal["S", "B", "L"] = "S"
    """Number of channels and layers."""
    dim: int = 32
    """Width D of a token."""
    grid: int = 1
    """Tokens per side: 1 gives one token for the image, g gives g x g tokens."""
    batch_norm: bool = True
    """Normalise tokens over the batch (no weights), as LeWorldModel's projector does; without it a
    small moving object on a constant scene starts as a nearly constant latent."""
    statistics: Literal["centred", "shared"] = "centred"
    """Of a grid, centred: each place has its own mean, all share the spread; shared: both belong to
    all places together, so that what differs from place to place hides what moves."""
    image_size: int = 64
    """Side in pixels that images are resized to (bilinear) if they differ."""
    patch_size: int = 8
    """Side in pixels of a patch (family vit)."""
    reduction: Literal[8, 16] = 16
    """Pixels per side of a cell of the last feature map (family conv); 8 keeps places finer."""
    init: str | None = None
    """Folder of `jepawm pretrain` whose weights the transformer starts from (family vit); None: random."""

    def __post_init__(self) -> None:
        """Check sizes."""
        if self.dim < 1 or self.grid < 1:
            raise UserError(f"encoder.dim = {self.dim} and encoder.grid = {self.grid} must be >= 1")
        sizes = ("dim", "grid", "image_size", "patch_size")
        require_range(self, sizes, where="encoder", least=1, most=2**16)
        if self.statistics not in ("centred", "shared"):
            raise UserError(f"encoder.statistics = {self.statistics!r}; choose centred or shared")
        if self.reduction not in (8, 16):
            raise UserError(f"encoder.reduction = {self.reduction}; choose 8 or 16")
        if self.init is not None and self.family != "vit":
            raise UserError(
                f"encoder.init = {self.init!r} holds a vision transformer, and encoder.family is "
                f"{self.family}; choose family vit, or leave init out"
            )
        if self.image_size % self.cell_size or (self.grid > 1 and self.num_cells % self.grid):
            raise UserError(
                f"encoder.image_size = {self.image_size} gives "
                f"{self.image_size / self.cell_size:g} cells a side, which encoder.grid = "
                f"{self.grid} does not divide; change one of them"
            )

    @property
    def cell_size(self) -> int:
        """Return the pixels per side of a cell of the last feature map."""
        return self.reduction if self.family == "conv" else self.patch_size

    @property
    def num_cells(self) -> int:
        """Return the cells per side of the last feature map."""
        return self.image_size // self.cell_size

    def build(self) -> "ImageEncoder":
        """Build the encoder with random weights."""
        return build_encoder(self)


vit = partial(EncoderConfig, family="vit")


class ImageEncoder(nn.Module):
    """Resize and scale pixels, run a backbone, pool to the grid and project to the token width."""

    def __init__(self, config: EncoderConfig, backbone: nn.Module, *, features: int) -> None:
        """Take the backbone, which maps `[B, 3, S, S]` floats to `[B, features, s, s]`."""
        super().__init__()
        self.config = config
        self.dim = config.dim
        self.grid = (config.grid, config.grid)
        self.num_tokens = config.grid**2
        self.backbone = backbone
        self.cell = config.num_cells // config.grid
        self.head = nn.Linear(features * self.cell**2, config.dim)
        self.norm = _build_norm(config) if config.batch_norm else None

    def forward(self, pixels: UInt8[Tensor, "*b 3 height width"]) -> Float[Tensor, "*b N D"]:
        """Encode images `[*b, 3, Hpx, Wpx]`, uint8, into tokens `[*b, N, D]`."""
        return self.normalize(self.project(pixels))

    def project(self, pixels: UInt8[Tensor, "*b 3 height width"]) -> Float[Tensor, "*b N D"]:
        """Return tokens `[*b, N, D]` that are not yet normalised over the batch."""
        flat = pixels.reshape(-1, *pixels.shape[-3:]).contiguous(memory_format=torch.channels_last)
        images = flat.to(self.head.weight.dtype)  # a copy, since pixels are uint8
        images = images.sub_(255 * _PIXEL_MEAN).mul_(1 / (255 * _PIXEL_STD))
        size = (self.config.image_size, self.config.image_size)
        if images.shape[-2:] != size:
            images = F.interpolate(images, size, mode="bilinear", align_corners=False)
        maps = self.backbone(images)  # [B, features, s, s]
        cells = maps.unflatten(3, (-1, self.cell)).unflatten(2, (-1, self.cell))
        cells = cells.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)  # [B, N, features cell^2]
        tokens = self.head(cells)  # [B, N, D]
        return tokens.reshape(*pixels.shape[:-3], self.num_tokens, self.dim)

    def normalize(self, tokens: Float[Tensor, "*b N D"]) -> Float[Tensor, "*b N D"]:
        """Normalise tokens `[*b, N, D]` over the batch, if the configuration says so."""
        if self.norm is None:
            return tokens
        width = tokens.shape[-1:] if isinstance(self.norm, BatchNorm) else tokens.shape[-2:]
        return self.norm(tokens.reshape(-1, *width)).view_as(tokens)


class ConvBackbone(nn.Sequential):
    """Patches of 4 x 4 pixels, then two convolutions, the first or both of stride 2."""

    def __init__(self, channels: tuple[int, int, int], *, reduction: int = 16) -> None:
        """Take the channels of each stage, and how many times smaller the map is: 8 or 16."""
        stages: list[nn.Module] = [nn.Conv2d(3, channels[0], 4, stride=4), *_norm(channels[0])]
        strides = (2, reduction // 8)
        for (before, width), stride in zip(pairwise(channels), strides, strict=True):
            stages += [nn.Conv2d(before, width, 3, stride=stride, padding=1), *_norm(width)]
        super().__init__(*stages)


class ViTBackbone(nn.Module):
    """A small vision transformer with fixed sine-cosine positions."""

    def __init__(
        self, *, width: int, depth: int, num_heads: int, patch_size: int, side: int
    ) -> None:
        """Take the width, depth, heads, patch size in pixels and patches per side."""
        super().__init__()
        self.side = side
        self.patches = nn.Conv2d(3, width, patch_size, stride=patch_size)
        table = frame_grid_sincos(num_frames=1, grid=(side, side), num_condition=0, dim=width)
        self.table: Tensor
        self.register_buffer("table", table, persistent=False)
        head_dim = width // num_heads
        self.blocks = nn.ModuleList(
            Block(width, num_heads, head_dim=head_dim, hidden=4 * width) for _ in range(depth)
        )
        self.norm = nn.LayerNorm(width, eps=1e-6)

    def forward(self, images: Float[Tensor, "B 3 S S"]) -> Float[Tensor, "B width s s"]:
        """Map images to a feature map."""
        x = self.embed(images) + self.table  # [B, s * s, width]
        return self.encode(x).transpose(1, 2).unflatten(-1, (self.side, self.side))

    def embed(self, images: Float[Tensor, "B 3 height width"]) -> Float[Tensor, "B n D"]:
        """Cut images of any size into patches, row by row, and project them; no positions yet."""
        return self.patches(images).flatten(2).transpose(1, 2)

    def encode(self, tokens: Float[Tensor, "B n D"]) -> Float[Tensor, "B n D"]:
        """Run the blocks and the last norm over any tokens."""
        for block in self.blocks:
            tokens = block(tokens)
        return self.norm(tokens)


def build_encoder(config: EncoderConfig) -> ImageEncoder:
    """Build the encoder that a configuration describes, with random weights."""
    if config.family == "conv":
        channels = _CONV_CHANNELS[config.size]
        backbone = ConvBackbone(channels, reduction=config.reduction)
        return ImageEncoder(config, backbone, features=channels[-1])
    backbone = build_vit(config.size, patch_size=config.patch_size, side=config.num_cells)
    return ImageEncoder(config, backbone, features=VIT_SHAPES[config.size][0])


def build_vit(size: str, *, patch_size: int, side: int) -> ViTBackbone:
    """Build the small vision transformer for `side` patches a side, with random weights."""
    width, depth, heads = VIT_SHAPES[size]
    return ViTBackbone(width=width, depth=depth, num_heads=heads, patch_size=patch_size, side=side)


def _norm(width: int) -> list[nn.Module]:
    return [nn.GroupNorm(4, width), nn.GELU()]


def _build_norm(config: EncoderConfig) -> nn.Module:
    if config.grid == 1 or config.statistics == "shared":
        return BatchNorm(config.dim)
    return PositionNorm(config.grid**2, config.dim)


class BatchNorm(nn.BatchNorm1d):
    """Normalise features over the global batch, without weights unless asked.

    torch's SyncBatchNorm does the same on GPUs only.
    """

    def __init__(self, dim: int, *, affine: bool = False) -> None:
        """Take the width of the features; `affine` adds a scale and a shift that learn."""
        super().__init__(dim, affine=affine)

    def forward(self, input: Float[Tensor, "n D"]) -> Float[Tensor, "n D"]:  # noqa: A002
        """Normalise `[n, D]`, with the moments of all processes while training."""
        if not self.training or count_processes() == 1:
            return super().forward(input)
        x = input.float()
        count = len(x) * count_processes()  # slices of a batch are equal
        mean = sum_over_processes(x.sum(0)) / count
        centered = x - mean
        variance = sum_over_processes(centered.square().sum(0)) / count
        self._track(mean.detach(), variance.detach() * count / (count - 1))
        normed = centered * torch.rsqrt(variance + self.eps)
        if self.affine:
            normed = normed * self.weight + self.bias
        return normed.to(input)

    @torch.no_grad()
    def _track(self, mean: Tensor, variance: Tensor) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance, self.momentum)
        self.num_batches_tracked.add_(1)


class PositionNorm(nn.Module):
    """Normalise tokens of a grid over the global batch, each around the mean of its place.

    Without weights. All places share the spread: where nothing ever happens, noise is not blown up.
    """

    def __init__(self, num_tokens: int, dim: int) -> None:
        """Take the number `N` and the width `D` of the tokens."""
        super().__init__()
        self.eps, self.momentum = _EPS, 0.1
        self.running_mean: Tensor
        self.running_var: Tensor
        self.register_buffer("running_mean", torch.zeros(num_tokens, dim))
        self.register_buffer("running_var", torch.ones(1, dim))

    def forward(self, tokens: Float[Tensor, "n N D"]) -> Float[Tensor, "n N D"]:
        """Normalise `[n, N, D]`, with the moments of all processes while training."""
        if not self.training:
            return (tokens - self.running_mean) * torch.rsqrt(self.running_var + self.eps)
        x = tokens.float()
        count = len(x) * count_processes()  # slices of a batch are equal
        mean = sum_over_processes(x.sum(0)) / count  # [N, D]
        centered = x - mean
        variance = sum_over_processes(centered.square().mean(1).sum(0)) / count  # [D]
        with torch.no_grad():
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * count / (count - 1), self.momentum)
        return (centered * torch.rsqrt(variance + self.eps)).to(tokens)


class GivenTokens(nn.Module):
    """Stand in the encoder's place where frames are encoded already."""

    def __init__(self, *, dim: int, grid: tuple[int, int]) -> None:
        """Take the width and the grid of the tokens."""
        super().__init__()
        self.dim = dim
        self.grid = grid
        self.num_tokens = grid[0] * grid[1]

    def forward(self, pixels: UInt8[Tensor, "*b 3 height width"]) -> Float[Tensor, "*b N D"]:
        """Refuse images: there is no network here."""
        raise TypeError(f"this model has no encoder for images {tuple(pixels.shape)}; give tokens")
