"""Frozen encoders: DINOv2, DINOv3, V-JEPA 1 and 2, those of timm, and a small vision transformer.

Here they have random weights; `models/frozen/weights.py` loads others. What comes out are the patch
tokens after the last layer norm, without class token and registers.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from jepawm.errors import UserError, require_range
from jepawm.models.encoders import VIT_SHAPES
from jepawm.models.frozen.backbones import (
    SHAPES,
    BackboneShape,
    FrozenFamily,
    FrozenSize,
    build_backbone,
    run_backbone,
)
from jepawm.models.frozen.preprocessing import Normalization, prepare_images

POSITION_TABLE = "embeddings.position_embeddings"
"""Name of a backbone's learned position table, which follows the image size."""


@dataclass(frozen=True, kw_only=True)
class FrozenEncoderConfig:
    """Which published encoder maps images to tokens, at which resolution, with which weights."""

    family: FrozenFamily = "dinov2"
    """Who trained it, and how."""
    size: FrozenSize = "S"
    """S, B, L, g of DINOv2; S, B, L of DINOv3; L of V-JEPA 1; L, H, g of V-JEPA 2."""
    image_size: int = 224
    """Side in pixels that images are resized to; a multiple of the patch (14 for DINOv2, else
    16). The released world models use 224 with DINOv2 and 256 with the others: 16 x 16 tokens."""
    normalization: Normalization = "imagenet"
    """Mean and standard deviation of the input; `half` in the released DINO-WM models."""
    normalize_output: bool = False
    """Pass tokens through a layer norm without weights, as V-JEPA-2-AC does."""
    weights: str = "hub"
    """`hub`: the published weights, from the Hugging Face hub or its cache; or the path of the
    authors' file or of a folder of transformers; or `random`, `random:SEED`: random weights."""

    def __post_init__(self) -> None:
        """Check that this family was published in this size and takes this image."""
        if (self.family, self.size) not in SHAPES:
            sizes = ", ".join(size for family, size in SHAPES if family == self.family)
            raise UserError(
                f"there is no {self.family} of size {self.size!r}; choose encoder.size from {sizes}"
            )
        random_seed(self.weights)

    @property
    def name(self) -> str:
        """Return family and size."""
        return f"{self.family} {self.size}"

    @property
    def shape(self) -> BackboneShape:
        """Return the published sizes."""
        return SHAPES[self.family, self.size]

    @property
    def random_seed(self) -> int | None:
        """Return the seed of random weights; None where weights are read."""
        return random_seed(self.weights)

    def build(self) -> "FrozenEncoder":
        """Build the encoder with the weights that are named."""
        from jepawm.models.frozen.weights import load_frozen_encoder

        return load_frozen_encoder(self)


@dataclass(frozen=True, kw_only=True)
class TimmEncoderConfig:
    """Which network of the package timm maps images to tokens."""

    family: Literal["timm"] = "timm"
    """A model of timm."""
    model: str = "vit_small_patch16_224"
    """Its name there; it takes square images."""
    image_size: int = 224
    """Side in pixels that images are resized to; a multiple of the patch, or of `reduction`."""
    reduction: int | None = None
    """Pixels per side of a token of a convolutional network: which of its feature maps is taken
    (mostly 4, 8, 16 or 32); None for vision transformers, which have patches."""
    normalization: Normalization = "imagenet"
    """Mean and standard deviation of the input."""
    normalize_output: bool = False
    """Pass tokens through a layer norm without weights."""
    weights: str = "hub"
    """`hub`: as timm fetches them; or `package`: those of the package that the extra `efficientnet`
    installs; or the path of a file; or `random`, `random:SEED`."""

    def __post_init__(self) -> None:
        """Check the seed and the feature map."""
        random_seed(self.weights)
        require_range(self, ("image_size", "reduction"), where="encoder", least=1, most=2**16)

    @property
    def name(self) -> str:
        """Return the name with its prefix, and which feature map it is."""
        return f"timm:{self.model}" + (f" /{self.reduction}" if self.reduction else "")

    @property
    def random_seed(self) -> int | None:
        """Return the seed of random weights; None where weights are read."""
        return random_seed(self.weights)

    def build(self) -> "FrozenEncoder":
        """Build the encoder with the weights that are named."""
        from jepawm.models.frozen.weights import load_frozen_encoder

        return load_frozen_encoder(self)


@dataclass(frozen=True, kw_only=True)
class SmallViTConfig:
    """A small vision transformer, that of the learned family `vit`, with fixed weights."""

    family: Literal["small_vit"] = "small_vit"
    """Pretrained on one's own frames, or random: the control."""
    size: Literal["S", "B", "L"] = "S"
    """Width and number of blocks."""
    grid: int = 4
    """Tokens per side; neighbouring patches lie side by side in one token."""
    image_size: int = 64
    """Side in pixels that images are resized to."""
    patch_size: int = 8
    """Side in pixels of a patch."""
    weights: str = ""
    """Folder that `jepawm pretrain` wrote; or `random`, `random:SEED`."""

    normalization: ClassVar[Normalization] = "half"
    """Mean and standard deviation of the input: as the learned encoders have it."""
    normalize_output: ClassVar[bool] = False
    """Tokens come out of the transformer's own layer norm."""

    def __post_init__(self) -> None:
        """Check the sizes and the seed."""
        sizes = ("grid", "image_size", "patch_size")
        require_range(self, sizes, where="encoder", least=1, most=2**16)
        if self.image_size % self.patch_size or self.num_cells % self.grid:
            raise UserError(
                f"encoder.image_size = {self.image_size} in patches of {self.patch_size} pixels gives "
                f"no grid of {self.grid} x {self.grid} tokens; change one of them"
            )
        random_seed(self.weights)

    @property
    def name(self) -> str:
        """Return family, size and what decides where a token looks."""
        return f"{self.family} {self.size} /{self.patch_size} {self.grid} x {self.grid}"

    @property
    def num_cells(self) -> int:
        """Return the patches per side."""
        return self.image_size // self.patch_size

    @property
    def shape(self) -> BackboneShape:
        """Return the sizes of tokens and network; a patch is what one token sees."""
        width, depth, num_heads = VIT_SHAPES[self.size]
        cell = self.num_cells // self.grid
        return BackboneShape(
            width=width * cell**2,
            depth=depth,
            num_heads=num_heads,
            patch_size=self.patch_size * cell,
        )

    @property
    def random_seed(self) -> int | None:
        """Return the seed of random weights; None where weights are read."""
        return random_seed(self.weights)

    def build(self) -> "FrozenEncoder":
        """Build the encoder with the weights that are named."""
        from jepawm.models.frozen.weights import load_frozen_encoder

        return load_frozen_encoder(self)


AnyFrozenConfig = FrozenEncoderConfig | TimmEncoderConfig | SmallViTConfig

_GRID = 16
"""Patches per side of a default image, as in the released world models."""


def timm(name: str) -> Callable[[], TimmEncoderConfig]:
    """Return what makes the configuration of a model of timm."""
    return partial(TimmEncoderConfig, model=name)


def efficientnet_lite0() -> TimmEncoderConfig:
    """Return EfficientNet-Lite0 with the ImageNet weights of the extra `efficientnet`."""
    return TimmEncoderConfig(
        model="tf_efficientnet_lite0",
        image_size=64,
        reduction=16,
        normalization="half",
        normalize_output=True,
        weights="package",
    )


random_vit = partial(SmallViTConfig, weights="random:0")


def _smallest(family: FrozenFamily) -> FrozenEncoderConfig:
    """Return the smallest encoder of a family, for images of 16 x 16 patches."""
    key = next(key for key in SHAPES if key[0] == family)
    return FrozenEncoderConfig(
        family=family, size=key[1], image_size=_GRID * SHAPES[key].patch_size
    )


dinov2, dinov2_reg = partial(_smallest, "dinov2"), partial(_smallest, "dinov2_reg")
dinov3 = partial(_smallest, "dinov3")
vjepa, vjepa2 = partial(_smallest, "vjepa"), partial(_smallest, "vjepa2")


@dataclass(frozen=True, kw_only=True)
class EncoderIdentity:
    """All that decides the tokens of a frozen encoder: two of one identity give the same tokens.

    Checkpoints and feature caches hold it in place of the weights.
    """

    name: str
    """Family and size."""
    image_size: int
    """Side in pixels of the images."""
    normalization: Normalization
    """Mean and standard deviation of the input."""
    normalize_output: bool
    """Whether tokens pass through a layer norm without weights."""
    sha256: str
    """Hash of the weights, whatever file they came from; see `weights_hash`."""
    weights: str = field(compare=False)
    """Where they came from: `hub`, a path, `random:SEED`; no part of the identity."""


class FrozenEncoder(nn.Module):
    """Prepare images and run a backbone that is never trained and always in evaluation mode."""

    def __init__(
        self, config: AnyFrozenConfig, backbone: nn.Module, *, shape: BackboneShape
    ) -> None:
        """Take a backbone with these sizes and its final weights."""
        super().__init__()
        side = config.image_size // shape.patch_size
        self.config = config
        self.backbone = backbone.requires_grad_(requires_grad=False)
        self.dim = shape.width
        self.grid = (side, side)
        self.num_tokens = side * side
        self.train(mode=False)

    @cached_property
    def identity(self) -> EncoderIdentity:
        """Return what distinguishes this encoder from others; hashes the weights at the first call."""
        seed = self.config.random_seed
        return EncoderIdentity(
            name=self.config.name,
            image_size=self.config.image_size,
            normalization=self.config.normalization,
            normalize_output=self.config.normalize_output,
            sha256=weights_hash(self.backbone),
            weights=self.config.weights if seed is None else f"random:{seed}",
        )

    def train(self, mode: bool = True) -> "FrozenEncoder":  # noqa: ARG002
        """Stay in evaluation mode, whatever the model around it does."""
        return super().train(mode=False)

    @torch.no_grad()  # nothing before the tokens is ever trained
    def forward(self, pixels: UInt8[Tensor, "*b 3 height width"]) -> Float[Tensor, "*b N D"]:
        """Encode images `[*b, 3, Hpx, Wpx]`, uint8, into tokens `[*b, N, D]`."""
        flat = pixels.reshape(-1, *pixels.shape[-3:])
        dtype = next(self.backbone.parameters()).dtype
        images = prepare_images(
            flat, self.config.image_size, normalization=self.config.normalization, dtype=dtype
        )
        tokens = self.encode_images(images)
        if self.config.normalize_output:
            tokens = F.layer_norm(tokens, tokens.shape[-1:], eps=1e-5)
        return tokens.view(*pixels.shape[:-3], self.num_tokens, self.dim)

    def encode_images(self, images: Float[Tensor, "B 3 S S"]) -> Float[Tensor, "B N D"]:
        """Encode normalised images `[B, 3, S, S]` into patch tokens `[B, N, D]`."""
        return self.all_tokens(images)[:, -self.num_tokens :]

    def all_tokens(self, images: Float[Tensor, "B 3 S S"]) -> Float[Tensor, "B n D"]:
        """Encode normalised images; class token and registers, where there are any, come first."""
        return run_backbone(self.config.family, self.backbone, images=images)


def build_frozen_encoder(
    config: FrozenEncoderConfig, shape: BackboneShape | None = None
) -> FrozenEncoder:
    """Build an encoder with random weights, whatever `config.weights` says.

    Args:
        config: which encoder.
        shape: sizes of the transformer; None: the published ones.
    """
    shape = shape or config.shape
    if config.image_size < 1 or config.image_size % shape.patch_size:
        raise UserError(
            f"encoder.image_size = {config.image_size} is not a multiple of the patch size "
            f"{shape.patch_size} of {config.family}; choose for example {16 * shape.patch_size}"
        )
    backbone = build_backbone(config.family, shape, image_size=config.image_size)
    return FrozenEncoder(config, backbone, shape=shape)


def random_seed(weights: str) -> int | None:
    """Return the seed that `random` (0) or `random:SEED` names; None for weights that are read."""
    kind, _, seed = weights.partition(":")
    if kind != "random":
        return None
    if weights != "random" and not seed.isdecimal():
        raise UserError(
            f"encoder.weights = {weights!r} has no whole number as seed; write random:0"
        )
    return int(seed or 0)


def weights_hash(backbone: nn.Module) -> str:
    """Return the sha256 of all weights but the position table, by name, in float32.

    The table is left out because it is resampled when it is loaded, which may round differently
    elsewhere; the other weights are found by the file.
    """
    digest = hashlib.sha256()
    for name, value in sorted(backbone.state_dict().items()):
        if name not in (POSITION_TABLE, "pos_embed"):  # the latter is timm's
            digest.update(f"{name} {tuple(value.shape)}".encode())
            digest.update(value.detach().float().cpu().contiguous().numpy().data)
    return digest.hexdigest()
