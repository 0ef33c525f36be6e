"""Predictors of the reference implementation: their shapes and tensor names in ours.

The three families of the released files, by the `pred_type` of their configurations: AdaLN,
V-JEPA-2-AC and DINO-WM. Weights come in groups (`predictor`, `action_encoder`, `proprio_encoder`).
"""

import re
from collections.abc import Mapping
from typing import Literal

from jaxtyping import Float
from torch import Tensor

from jepawm.models.predictor import PredictorConfig

Family = Literal["AdaLN", "vjepa2_ac", "dino_wm"]
Weights = Mapping[str, Float[Tensor, "..."]]

_BLOCKS = (
    (r"^predictor_blocks\.(\d+)\.adaLN_modulation\.1\.", r"blocks.\1.modulation."),
    (r"^predictor_blocks\.", "blocks."),
    (r"^predictor_embed\.", "embed."),
    (r"^predictor_norm\.", "norm."),
    (r"^predictor_proj\.", "proj."),
)
_DINO_WM = (
    (r"^pos_embedding$", "position_table"),
    (r"^transformer\.norm\.", "norm."),
    (r"^transformer\.layers\.(\d+)\.0\.norm\.", r"blocks.\1.norm1."),
    (r"^transformer\.layers\.(\d+)\.0\.to_qkv\.", r"blocks.\1.attn.qkv."),
    (r"^transformer\.layers\.(\d+)\.0\.to_out\.0\.", r"blocks.\1.attn.proj."),
    (r"^transformer\.layers\.(\d+)\.1\.net\.0\.", r"blocks.\1.norm2."),
    (r"^transformer\.layers\.(\d+)\.1\.net\.1\.", r"blocks.\1.mlp.fc1."),
    (r"^transformer\.layers\.(\d+)\.1\.net\.4\.", r"blocks.\1.mlp.fc2."),
)
_HEADS = ((r"^decoder_(embed|blocks|norm|proj)\b", r"\1"),)
_DINO_WM_MASK = re.compile(r"^transformer\.layers\.\d+\.0\.bias$")


def predictor_config(
    family: Family,
    *,
    depth: int,
    num_heads: int,
    head_dim: int,
    visual_dim: int,
    window: int,
    action_code_dim: int = 0,
    hidden_dim: int | None = None,
) -> PredictorConfig:
    """Return the configuration of a reference predictor.

    Args:
        family: which predictor.
        depth: blocks.
        num_heads: attention heads.
        head_dim: width of a head.
        visual_dim: channels of the visual part of a token.
        window: longest window in frames.
        action_code_dim: width of the action code that joins the channels (DINO-WM).
        hidden_dim: width of the feed-forward layer; None is four times the token width.
    """
    dino_wm = family == "dino_wm"
    conditioning = {"AdaLN": "adaln", "vjepa2_ac": "sequence", "dino_wm": "feature"}
    return PredictorConfig(
        conditioning=conditioning[family],  # pyright: ignore[reportArgumentType]
        positions="learned" if dino_wm else "rope_vjepa",
        window=window,
        depth=depth,
        num_heads=num_heads,
        visual_dim=visual_dim,
        head_dim=head_dim,
        hidden_dim=hidden_dim,
        action_dim=action_code_dim,
        projected=not dino_wm,
        normalize_output=family == "vjepa2_ac",
        qkv_bias=not dino_wm,
        norm_eps=1e-5 if dino_wm else 1e-6,
    )


def convert_predictor(
    family: Family, predictor: Weights, *, action_encoder: Weights
) -> dict[str, Tensor]:
    """Rename the weights of a reference predictor for `Predictor.load_state_dict`.

    An action encoder of its own (group `action_encoder`, a convolution of width 1) becomes the
    predictor's. The mask that DINO-WM stores is dropped, and so is a proprio encoder inside the
    predictor, which `convert_proprio` takes.
    """
    rules = _DINO_WM if family == "dino_wm" else _BLOCKS
    converted: dict[str, Tensor] = {}
    for name, value in predictor.items():
        if _DINO_WM_MASK.match(name) or name.startswith("proprio_encoder."):
            continue
        converted[_rename(name, rules)] = value
    for name, value in action_encoder.items():
        converted[name.replace("patch_embed.", "action_encoder.")] = _as_linear(value)
    return converted


def convert_proprio(predictor: Weights, *, proprio_encoder: Weights) -> dict[str, Tensor]:
    """Return the weights of the proprio encoder for `ProprioEncoder.load_state_dict`.

    They lie in their own group, or inside the predictor (V-JEPA-2-AC).
    """
    inside = {
        name.replace("proprio_encoder.", "proj."): value
        for name, value in predictor.items()
        if name.startswith("proprio_encoder.")
    }
    outside = {
        name.replace("patch_embed.", "proj."): _as_linear(value)
        for name, value in proprio_encoder.items()
    }
    return inside | outside


def convert_decoder(model: Weights) -> dict[str, Tensor]:
    """Rename the weights of a reference head for `ImageDecoder` or `StateDecoder`.

    The stored position table is dropped: the decoders compute theirs.
    """
    return {
        _rename(name, _HEADS): value for name, value in model.items() if name != "decoder_pos_embed"
    }


def _rename(name: str, rules: tuple[tuple[str, str], ...]) -> str:
    for pattern, replacement in rules:
        renamed, count = re.subn(pattern, replacement, name)
        if count:
            return renamed
    return name


def _as_linear(value: Tensor) -> Tensor:
    return value.squeeze(-1) if value.ndim == 3 else value  # convolution of width 1: [out, in, 1]
