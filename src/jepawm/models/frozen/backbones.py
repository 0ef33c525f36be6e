"""Backbones of frozen encoders: the published sizes, and how each family is built and run.

The modules are those of transformers (V-JEPA 1: our own); they come with random weights.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, Protocol, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from jepawm.errors import missing_extra
from jepawm.models.blocks import Block
from jepawm.models.positions import grid_sincos

FrozenFamily = Literal["dinov2", "dinov2_reg", "dinov3", "vjepa", "vjepa2"]
"""`dinov2_reg` is DINOv2 with registers; `vjepa` (V-JEPA 1) and `vjepa2` see each frame as a clip
of two equal ones."""
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
    """Tokens besides class token and patches."""
    patch_size: int = 16
    """Side of a patch in pixels."""
    norm_eps: float = 1e-6
    """Epsilon of the layer norms."""


def build_backbone(family: FrozenFamily, shape: BackboneShape, *, image_size: int) -> nn.Module:
    """Build a backbone for images of `image_size` pixels a side, with random weights."""
    return _FAMILIES[family].build(shape, image_size)


def run_backbone(
    family: FrozenFamily | Literal["timm", "small_vit"],
    backbone: nn.Module,
    *,
    images: Float[Tensor, "B 3 S S"],
) -> Float[Tensor, "B n D"]:
    """Encode normalised images; class token and registers, where there are any, come first."""
    if family == "timm":
        return cast(_Timm, backbone).forward_features(images)
    if family == "small_vit":
        return backbone(images)
    return _FAMILIES[family].run(backbone, images)


def require_transformers() -> None:
    """Check that the extra of the frozen encoders is installed."""
    try:
        import transformers  # noqa: F401
    except ImportError as error:
        raise missing_extra(
            "a frozen encoder", error, package="transformers", extra="encoders"
        ) from error


def _dinov2(shape: BackboneShape, image_size: int) -> nn.Module:
    require_transformers()
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
    require_transformers()
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
    require_transformers()
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
    require_transformers()
    from transformers import VJEPA2Config, VJEPA2Model

    config = VJEPA2Config(
        hidden_size=shape.width,
        num_hidden_layers=shape.depth,
        num_attention_heads=shape.num_heads,
        mlp_ratio=shape.mlp_ratio,
        patch_size=shape.patch_size,
        crop_size=image_size,
        frames_per_clip=CLIP,
        tubelet_size=CLIP,
        layer_norm_eps=shape.norm_eps,
        pred_num_hidden_layers=0,  # of the whole model only the encoder is kept
    )
    return VJEPA2Model(config).encoder


def _vjepa(shape: BackboneShape, image_size: int) -> nn.Module:
    return VJEPABackbone(
        width=shape.width,
        depth=shape.depth,
        num_heads=shape.num_heads,
        hidden=int(shape.width * shape.mlp_ratio),
        patch_size=shape.patch_size,
        side=image_size // shape.patch_size,
        norm_eps=shape.norm_eps,
    )


def _run_on_images(backbone: nn.Module, images: Tensor) -> Tensor:
    return backbone(pixel_values=images).last_hidden_state


def _run_on_clips(backbone: nn.Module, images: Tensor) -> Tensor:
    clips = images.unsqueeze(1).expand(-1, CLIP, -1, -1, -1)  # [B, 2, 3, S, S]
    return backbone(pixel_values_videos=clips).last_hidden_state


class _Timm(Protocol):
    def forward_features(self, images: Tensor) -> Tensor: ...


@dataclass(frozen=True, kw_only=True)
class _Family:
    build: Callable[[BackboneShape, int], nn.Module]
    run: Callable[[nn.Module, Tensor], Tensor] = _run_on_images


_FAMILIES: dict[FrozenFamily, _Family] = {
    "dinov2": _Family(build=_dinov2),
    "dinov2_reg": _Family(build=_dinov2_registers),
    "dinov3": _Family(build=_dinov3),
    "vjepa": _Family(build=_vjepa, run=lambda backbone, images: backbone(images)),
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
    "vjepa": {"L": _SMALL["L"]},
    "vjepa2": _VIDEO,
}
SHAPES: dict[tuple[FrozenFamily, FrozenSize], BackboneShape] = {
    (family, size): shape for family, sizes in _PUBLISHED.items() for size, shape in sizes.items()
}
"""Published sizes by family and size."""


CLIP = 2
"""Frames that one token covers."""


class VJEPABackbone(nn.Module):
    """Encode images, each as a clip of two equal frames."""

    def __init__(
        self,
        *,
        width: int,
        depth: int,
        num_heads: int,
        hidden: int,
        patch_size: int,
        side: int,
        norm_eps: float,
    ) -> None:
        """Take the widths, the patch in pixels and the patches per side."""
        super().__init__()
        self.embeddings = _Embeddings(width, patch_size=patch_size, side=side)
        self.blocks = nn.ModuleList(
            Block(width, num_heads, head_dim=width // num_heads, hidden=hidden, norm_eps=norm_eps)
            for _ in range(depth)
        )
        self.norm = nn.LayerNorm(width, eps=norm_eps)

    def forward(self, images: Float[Tensor, "B 3 S S"]) -> Float[Tensor, "B N D"]:
        """Encode normalised images `[B, 3, S, S]` into tokens `[B, N, D]` after the last norm."""
        tokens = self.embeddings(images)
        for block in self.blocks:
            tokens = block(tokens)
        return self.norm(tokens)


class _Embeddings(nn.Module):
    def __init__(self, width: int, *, patch_size: int, side: int) -> None:
        super().__init__()
        kernel = (CLIP, patch_size, patch_size)
        self.proj = nn.Conv3d(3, width, kernel, stride=kernel)
        table = grid_sincos((side, side), dim=width)
        self.position_embeddings = nn.Parameter(table[None], requires_grad=False)  # [1, N, D]

    def forward(self, images: Tensor) -> Tensor:
        clips = torch.stack([images] * CLIP, dim=2)  # [B, 3, 2, S, S]
        return self.proj(clips).flatten(2).transpose(1, 2) + self.position_embeddings
