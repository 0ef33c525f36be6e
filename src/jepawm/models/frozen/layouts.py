"""Layouts of the files that the authors of frozen encoders publish: tensor names, position tables.

Position tables are resampled as the authors' code does it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from jepawm.models.frozen.backbones import FrozenFamily
from jepawm.models.frozen.encoder import POSITION_TABLE
from jepawm.models.positions import resample_clip_table, resample_table

Weights = Mapping[str, Float[Tensor, "..."]]


@dataclass(frozen=True, kw_only=True)
class Resampling:
    """How DINOv2's position table is resampled to another image size (see `resample_table`)."""

    antialias: bool
    """Smooth before shrinking."""
    offset: float
    """Added to the new side in the scale factor; 0 resizes to the side itself."""

    def __call__(self, table: Float[Tensor, "n D"], side: int) -> Float[Tensor, "m D"]:
        """Resample the patches' rows; the class token's row comes first and stays."""
        patches = resample_table(table[1:], side, antialias=self.antialias, offset=self.offset)
        return torch.cat([table[:1], patches])


@dataclass(frozen=True, kw_only=True)
class ClipResampling:
    """How V-JEPA 1's table of clips is resampled to one pair of frames."""

    num_steps: int
    """Steps of the table in time."""

    def __call__(self, table: Float[Tensor, "n D"], side: int) -> Float[Tensor, "m D"]:
        """Resample to one step and `side` patches a side."""
        return resample_clip_table(table, side, num_steps=self.num_steps)


RESAMPLING: dict[FrozenFamily, Resampling | ClipResampling] = {
    "dinov2": Resampling(antialias=False, offset=0.1),
    "dinov2_reg": Resampling(antialias=True, offset=0.0),
    "vjepa": ClipResampling(num_steps=8),
}
"""As published; the other families have rotary positions and no table."""


def convert_encoder(
    family: FrozenFamily,
    weights: Weights,
    *,
    side: int,
    resampling: Resampling | ClipResampling | None,
) -> dict[str, Tensor]:
    """Rename the tensors of an authors' file for the backbone of a `FrozenEncoder`.

    Joint projections are split (queries, keys and values; the two halves of SwiGLU); what does
    not count in use is dropped. Unknown names stay as they are, for the loader to refuse.

    Args:
        family: whose file.
        weights: tensors by the authors' names, without the prefixes of a training.
        side: patches per side that the position table is resampled to.
        resampling: how; None where there is no table.
    """
    converted: dict[str, Tensor] = {}
    for name, value in weights.items():
        new_names = _rename(name, _RULES[family])
        parts = value.chunk(len(new_names)) if new_names else ()
        converted |= {new: part for new, part in zip(new_names, parts, strict=True) if new}
    if family == "dinov3" and "embeddings.mask_token" in converted:
        converted["embeddings.mask_token"] = converted["embeddings.mask_token"].view(1, 1, -1)
    return resampled(converted, side, resampling=resampling)


def resampled(
    weights: dict[str, Tensor], side: int, *, resampling: Resampling | ClipResampling | None
) -> dict[str, Tensor]:
    """Return the weights with the position table resampled to `side` patches a side."""
    if resampling is None or POSITION_TABLE not in weights:
        return weights
    return weights | {POSITION_TABLE: resampling(weights[POSITION_TABLE][0], side)[None]}


def _rename(name: str, rules: tuple["_Rule", ...]) -> tuple[str, ...]:
    for pattern, replacements in rules:
        match = re.match(pattern, name)
        if match:
            rest = name[match.end() :]
            return tuple(new and match.expand(new) + rest for new in replacements)
    return (name,)


_Rule = tuple[str, tuple[str, ...]]
"""Pattern of the begin of a name, and what it becomes; several are equal parts of the tensor,
an empty one is dropped."""

_BLOCK = r"blocks\.(\d+)\."
_DINOV2: tuple[_Rule, ...] = (
    (r"(cls_token|mask_token|register_tokens)$", (r"embeddings.\1",)),
    (r"pos_embed$", (POSITION_TABLE,)),
    (r"patch_embed\.proj\.", ("embeddings.patch_embeddings.projection.",)),
    (
        _BLOCK + r"attn\.qkv\.",
        tuple(rf"encoder.layer.\1.attention.{part}_proj." for part in ("q", "k", "v")),
    ),
    (_BLOCK + r"attn\.proj\.", (r"encoder.layer.\1.attention.o_proj.",)),
    (_BLOCK + r"ls([12])\.gamma$", (r"encoder.layer.\1.layer_scale\2.lambda1",)),
    (
        _BLOCK + r"mlp\.w12\.",
        (r"encoder.layer.\1.mlp.gate_proj.", r"encoder.layer.\1.mlp.up_proj."),
    ),
    (_BLOCK + r"mlp\.w3\.", (r"encoder.layer.\1.mlp.down_proj.",)),
    (_BLOCK, (r"encoder.layer.\1.",)),
    (r"norm\.", ("layernorm.",)),
)
_DINOV3: tuple[_Rule, ...] = (
    (r"(cls_token|mask_token)$", (r"embeddings.\1",)),
    (r"storage_tokens$", ("embeddings.register_tokens",)),
    (r"rope_embed\.periods$", ()),  # follow from the width of a head
    (r"patch_embed\.proj\.", ("embeddings.patch_embeddings.",)),
    (_BLOCK + r"attn\.qkv\.bias_mask$", ()),
    (  # keys have no bias: the file's is masked out
        _BLOCK + r"attn\.qkv\.bias$",
        (r"model.layer.\1.attention.q_proj.bias", "", r"model.layer.\1.attention.v_proj.bias"),
    ),
    (
        _BLOCK + r"attn\.qkv\.",
        tuple(rf"model.layer.\1.attention.{part}_proj." for part in ("q", "k", "v")),
    ),
    (_BLOCK + r"attn\.proj\.", (r"model.layer.\1.attention.o_proj.",)),
    (_BLOCK + r"ls([12])\.gamma$", (r"model.layer.\1.layer_scale\2.lambda1",)),
    (_BLOCK + r"mlp\.fc1\.", (r"model.layer.\1.mlp.up_proj.",)),
    (_BLOCK + r"mlp\.fc2\.", (r"model.layer.\1.mlp.down_proj.",)),
    (_BLOCK, (r"model.layer.\1.",)),
)
_VJEPA: tuple[_Rule, ...] = (
    (r"pos_embed$", (POSITION_TABLE,)),
    (r"patch_embed\.proj\.", ("embeddings.proj.",)),
)
_VJEPA2: tuple[_Rule, ...] = (
    (r"pos_embed$", ()),  # stored, but the positions are rotary
    (r"patch_embed\.proj\.", ("embeddings.patch_embeddings.proj.",)),
    (
        _BLOCK + r"attn\.qkv\.",
        tuple(rf"layer.\1.attention.{part}." for part in ("query", "key", "value")),
    ),
    (_BLOCK + r"attn\.proj\.", (r"layer.\1.attention.proj.",)),
    (_BLOCK, (r"layer.\1.",)),
    (r"norm\.", ("layernorm.",)),
)
_RULES: dict[FrozenFamily, tuple[_Rule, ...]] = {
    "dinov2": _DINOV2,
    "dinov2_reg": _DINOV2,
    "dinov3": _DINOV3,
    "vjepa": _VJEPA,
    "vjepa2": _VJEPA2,
}
