"""Frozen encoders that others trained: DINOv2, DINOv3 and V-JEPA 2, through transformers.

Here they have random weights; `hub/encoder_weights.py` loads the published ones. What comes out
are the patch tokens after the last layer norm, without class token and registers.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from jaxtyping import Float, UInt8
from torch import Tensor, nn

from jepawm.errors import UserError
from jepawm.models.preprocessing import Normalization, prepare_images

FrozenFamily = Literal["dinov2", "dinov2_reg", "dinov3", "vjepa2"]
"""`dinov2_reg` is DINOv2 with registers; `vjepa2` sees each frame as a clip of two equal ones."""
FrozenSize = Literal["S", "B", "L", "H", "g"]


@dataclass(frozen=True, kw_only=True)
class BackboneShape:
    """Sizes of a vision transformer."""

    width: int
    """Width D of a token."""
    depth: int
    """Blocks."""
    num_heads: int
    """Attention heads."""
    mlp_ratio: float = 4.0
    """Hidden width of the feed-forward part over the width."""
    gated: bool = False
    """Feed-forward part with SwiGLU instead of GELU; its hidden width is two thirds."""
    num_registers: int = 0
    """Tokens beside class token and patches."""
    patch_size: int = 16
    """Side of a patch in pixels."""
    norm_eps: float = 1e-6
    """Epsilon of the layer norms."""


@dataclass(frozen=True, kw_only=True)
class FrozenEncoderConfig:
    """Which published encoder maps images to tokens, and at which resolution."""

    family: FrozenFamily = "dinov2"
    """Who trained it, and how."""
    size: FrozenSize = "S"
    """S, B, L, g of DINOv2; S, B, L of DINOv3; L, H, g of V-JEPA 2."""
    image_size: int = 224
    """Side in pixels that images are resized to; a multiple of the patch (14 for DINOv2, else
    16). The released world models use 224 with DINOv2 and 256 with the others: 16 x 16 tokens."""
    normalization: Normalization = "imagenet"
    """Mean and standard deviation of the input; `half` in the released DINO-WM models."""

    def __post_init__(self) -> None:
        """Check that this family was published in this size."""
        if (self.family, self.size) not in SHAPES:
            sizes = ", ".join(size for family, size in SHAPES if family == self.family)
            raise UserError(
                f"there is no {self.family} of size {self.size!r}; choose encoder.size from {sizes}"
            )

    @property
    def shape(self) -> BackboneShape:
        """Return the published sizes."""
        return SHAPES[self.family, self.size]


class FrozenEncoder(nn.Module):
    """Prepare images and run a backbone that is never trained and always in evaluation mode."""

    def __init__(
        self, config: FrozenEncoderConfig, backbone: nn.Module, *, shape: BackboneShape
    ) -> None:
        """Take a backbone of transformers with these sizes."""
        super().__init__()
        side = config.image_size // shape.patch_size
        self.config = config
        self.backbone = backbone.requires_grad_(requires_grad=False)
        self.dim = shape.width
        self.grid = (side, side)
        self.num_tokens = side * side
        self.train(mode=False)

    def train(self, mode: bool = True) -> "FrozenEncoder":  # noqa: ARG002
        """Stay in evaluation mode, whatever the model around it does."""
        return super().train(mode=False)

    def forward(self, pixels: UInt8[Tensor, "*b 3 height width"]) -> Float[Tensor, "*b N D"]:
        """Encode images `[*b, 3, Hpx, Wpx]`, uint8, into tokens `[*b, N, D]`."""
        flat = pixels.reshape(-1, *pixels.shape[-3:])
        dtype = next(self.backbone.parameters()).dtype
        images = prepare_images(
            flat, self.config.image_size, normalization=self.config.normalization, dtype=dtype
        )
        tokens = self.encode_images(images)
        return tokens.view(*pixels.shape[:-3], self.num_tokens, self.dim)

    def encode_images(self, images: Float[Tensor, "B 3 S S"]) -> Float[Tensor, "B N D"]:
        """Encode normalised images `[B, 3, S, S]` into patch tokens `[B, N, D]`."""
        return self.all_tokens(images)[:, -self.num_tokens :]

    def all_tokens(self, images: Float[Tensor, "B 3 S S"]) -> Float[Tensor, "B n D"]:
        """Encode normalised images; class token and registers, where there are any, come first."""
        return _FAMILIES[self.config.family].run(self.backbone, images)


def build_frozen_encoder(
    config: FrozenEncoderConfig, shape: BackboneShape | None = None
) -> FrozenEncoder:
    """Build an encoder with random weights.

    Args:
        config: which encoder.
        shape: sizes of the transformer; None: the published ones.

    Raises:
        UserError: if transformers is not installed or the image is no multiple of the patch.
    """
    shape = shape or config.shape
    if config.image_size < 1 or config.image_size % shape.patch_size:
        raise UserError(
            f"encoder.image_size = {config.image_size} is no multiple of the patch size "
            f"{shape.patch_size} of {config.family}; choose for example {16 * shape.patch_size}"
        )
    require_transformers()
    backbone = _FAMILIES[config.family].build(shape, config.image_size)
    return FrozenEncoder(config, backbone, shape=shape)


def require_transformers() -> None:
    """Check that the extra of the frozen encoders is installed.

    Raises:
        UserError: if it is not.
    """
    try:
        import transformers  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"frozen encoders need the extra 'encoders' ({error}); "
            "install it with: pip install 'jepawm[encoders]'"
        ) from error


def _dinov2(shape: BackboneShape, image_size: int) -> nn.Module:
    from transformers import Dinov2Config, Dinov2Model

    return Dinov2Model(
        Dinov2Config(
            hidden_size=shape.width,
            num_hidden_layers=shape.depth,
            num_attention_heads=shape.num_heads,
            mlp_ratio=int(shape.mlp_ratio),
            use_swiglu_ffn=shape.gated,
            patch_size=shape.patch_size,
            image_size=image_size,  # the position table has this size: nothing is resampled later
            layer_norm_eps=shape.norm_eps,
        )
    )


def _dinov2_registers(shape: BackboneShape, image_size: int) -> nn.Module:
    from transformers import Dinov2WithRegistersConfig, Dinov2WithRegistersModel

    return Dinov2WithRegistersModel(
        Dinov2WithRegistersConfig(
            hidden_size=shape.width,
            num_hidden_layers=shape.depth,
            num_attention_heads=shape.num_heads,
            mlp_ratio=int(shape.mlp_ratio),
            use_swiglu_ffn=shape.gated,
            num_register_tokens=shape.num_registers,
            patch_size=shape.patch_size,
            image_size=image_size,
            layer_norm_eps=shape.norm_eps,
        )
    )


def _dinov3(shape: BackboneShape, image_size: int) -> nn.Module:
    from transformers import DINOv3ViTConfig, DINOv3ViTModel

    return DINOv3ViTModel(
        DINOv3ViTConfig(
            hidden_size=shape.width,
            num_hidden_layers=shape.depth,
            num_attention_heads=shape.num_heads,
            intermediate_size=int(shape.width * shape.mlp_ratio),
            num_register_tokens=shape.num_registers,
            patch_size=shape.patch_size,
            image_size=image_size,
            layer_norm_eps=shape.norm_eps,
        )
    )


def _vjepa2(shape: BackboneShape, image_size: int) -> nn.Module:
    from transformers import VJEPA2Config, VJEPA2Model

    config = VJEPA2Config(
        hidden_size=shape.width,
        num_hidden_layers=shape.depth,
        num_attention_heads=shape.num_heads,
        mlp_ratio=shape.mlp_ratio,
        patch_size=shape.patch_size,
        crop_size=image_size,
        frames_per_clip=_CLIP,
        tubelet_size=_CLIP,
        layer_norm_eps=shape.norm_eps,
        pred_num_hidden_layers=0,  # of the whole model only the encoder is kept
    )
    return VJEPA2Model(config).encoder


def _run_on_images(backbone: nn.Module, images: Tensor) -> Tensor:
    return backbone(pixel_values=images).last_hidden_state


def _run_on_clips(backbone: nn.Module, images: Tensor) -> Tensor:
    clips = images.unsqueeze(1).expand(-1, _CLIP, -1, -1, -1)  # [B, 2, 3, S, S]
    return backbone(pixel_values_videos=clips).last_hidden_state


@dataclass(frozen=True, kw_only=True)
class _Family:
    build: Callable[[BackboneShape, int], nn.Module]
    run: Callable[[nn.Module, Tensor], Tensor] = _run_on_images


_CLIP = 2
_FAMILIES: dict[FrozenFamily, _Family] = {
    "dinov2": _Family(build=_dinov2),
    "dinov2_reg": _Family(build=_dinov2_registers),
    "dinov3": _Family(build=_dinov3),
    "vjepa2": _Family(build=_vjepa2, run=_run_on_clips),
}


_ViT = dict[FrozenSize, BackboneShape]
_SMALL: _ViT = {
    "S": BackboneShape(width=384, depth=12, num_heads=6),
    "B": BackboneShape(width=768, depth=12, num_heads=12),
    "L": BackboneShape(width=1024, depth=24, num_heads=16),
}
_GIANT: _ViT = {"g": BackboneShape(width=1536, depth=40, num_heads=24, gated=True)}
_VIDEO: _ViT = {
    "L": _SMALL["L"],
    "H": BackboneShape(width=1280, depth=32, num_heads=16),
    "g": BackboneShape(width=1408, depth=40, num_heads=22, mlp_ratio=48 / 11),
}
_PUBLISHED: dict[FrozenFamily, _ViT] = {
    "dinov2": {k: replace(v, patch_size=14) for k, v in (_SMALL | _GIANT).items()},
    "dinov2_reg": {
        k: replace(v, patch_size=14, num_registers=4) for k, v in (_SMALL | _GIANT).items()
    },
    "dinov3": {k: replace(v, num_registers=4, norm_eps=1e-5) for k, v in _SMALL.items()},
    "vjepa2": _VIDEO,
}
SHAPES: dict[tuple[FrozenFamily, FrozenSize], BackboneShape] = {
    (family, size): shape for family, sizes in _PUBLISHED.items() for size, shape in sizes.items()
}
"""Published sizes by family and size."""
