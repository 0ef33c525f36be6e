"""Predictors and heads of the reference implementation: their sizes and tensor names in ours.

The three families of the released files, by the `pred_type` of their configurations: AdaLN,
V-JEPA-2-AC and DINO-WM. A file has groups of tensors (`predictor`, `action_encoder`,
`proprio_encoder`, or `model` for a head); a name here is `<group>.<tensor>`.
"""

import re
from collections.abc import Mapping
from typing import Literal

from jaxtyping import Float
from torch import Tensor

from jepawm.models.predictor import PredictorConfig

Family = Literal["AdaLN", "vjepa2_ac", "dino_wm"]
Weights = Mapping[str, Float[Tensor, "..."]]

GROUPS = ("predictor", "action_encoder", "proprio_encoder")
"""Groups of tensors of a world model."""

Rules = tuple[tuple[str, str], ...]
"""How a name begins there, and here; `{}` is a number. The first that matches counts, in both
directions."""

_BLOCKS: Rules = (
    ("predictor.predictor_blocks.{}.adaLN_modulation.1.", "predictor.blocks.{}.modulation."),
    ("predictor.predictor_blocks.", "predictor.blocks."),
    ("predictor.predictor_embed.", "predictor.embed."),
    ("predictor.predictor_norm.", "predictor.norm."),
    ("predictor.predictor_proj.", "predictor.proj."),
    ("predictor.action_encoder.", "predictor.action_encoder."),
)
_INSIDE: Rules = (("predictor.proprio_encoder.", "proprio_encoder.proj."),)
_OUTSIDE: Rules = (
    ("action_encoder.patch_embed.", "predictor.action_encoder."),
    ("proprio_encoder.patch_embed.", "proprio_encoder.proj."),
)
_DINO_WM: Rules = (
    ("predictor.pos_embedding", "predictor.position_table"),
    ("predictor.transformer.norm.", "predictor.norm."),
    ("predictor.transformer.layers.{}.0.norm.", "predictor.blocks.{}.norm1."),
    ("predictor.transformer.layers.{}.0.to_qkv.", "predictor.blocks.{}.attn.qkv."),
    ("predictor.transformer.layers.{}.0.to_out.0.", "predictor.blocks.{}.attn.proj."),
    ("predictor.transformer.layers.{}.1.net.0.", "predictor.blocks.{}.norm2."),
    ("predictor.transformer.layers.{}.1.net.1.", "predictor.blocks.{}.mlp.fc1."),
    ("predictor.transformer.layers.{}.1.net.4.", "predictor.blocks.{}.mlp.fc2."),
)
_RULES: dict[Family, Rules] = {
    "AdaLN": _BLOCKS + _OUTSIDE + _INSIDE,
    "vjepa2_ac": _BLOCKS + _INSIDE + _OUTSIDE,
    "dino_wm": _DINO_WM + _OUTSIDE,
}
_HEADS: Rules = (
    ("model.decoder_embed.", "embed."),
    ("model.decoder_blocks.", "blocks."),
    ("model.decoder_norm.", "norm."),
    ("model.decoder_proj.", "proj."),
    ("model.", ""),
)

# What a file may hold that is not a weight of the model: the stored mask of DINO-WM, an encoder of
# camera poses that V-JEPA-2-AC was released with and does not use, fixed position tables.
_IGNORED = re.compile(
    r"predictor\.transformer\.layers\.\d+\.0\.bias"
    r"|predictor\.extrinsics_encoder\..*"
    r"|model\.decoder_pos_embed"
)


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
        action_code_dim: width of the action code that joins the channels (DINO-WM, or
            V-JEPA-2-AC with conditioning by features).
        hidden_dim: width of the feed-forward layer; None is four times the token width.
    """
    dino_wm = family == "dino_wm"
    conditioning = "adaln" if family == "AdaLN" else "feature" if action_code_dim else "sequence"
    return PredictorConfig(
        conditioning=conditioning,
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


def flat_names(groups: Mapping[str, Weights]) -> dict[str, Tensor]:
    """Name the tensors of a file `<group>.<tensor>`, as they are called without distribution.

    The traces of distributed training (`module.`) are taken off, the state encoder of V-JEPA-2-AC
    is called proprio encoder, and what is not a weight of the model is left out.
    """
    flat: dict[str, Tensor] = {}
    for group, tensors in groups.items():
        for tensor, value in tensors.items():
            name = f"{group}.{tensor.replace('module.', '')}"
            name = re.sub(r"\bstate_encoder\.(weight|bias)$", r"proprio_encoder.\1", name)
            if not _IGNORED.fullmatch(name):
                flat[name] = value
    return flat


def convert_world_model(family: Family, tensors: Weights) -> dict[str, Tensor]:
    """Rename `<group>.<tensor>` for a `JEPAWorldModel`, all of it but the encoder of images.

    Encoders of actions and proprioception that are convolutions of width 1 become linear maps.
    Unknown names stay as they are.
    """
    return {
        rename(name, _RULES[family]): _as_linear(value) if _is_convolution(name) else value
        for name, value in tensors.items()
    }


def original_layout(family: Family, weights: Weights) -> dict[str, tuple[int, ...]]:
    """Return names and shapes in a file of the weights of a `JEPAWorldModel`, without encoder."""
    layout: dict[str, tuple[int, ...]] = {}
    for name, value in weights.items():
        original = rename(name, reversed_rules(_RULES[family]))
        layout[original] = (*value.shape, 1) if _is_convolution(original) else tuple(value.shape)
    return layout


def convert_decoder(tensors: Weights) -> dict[str, Tensor]:
    """Rename `model.<tensor>` of a reference head for `ImageDecoder` or `StateDecoder`."""
    return {rename(name, _HEADS): value for name, value in tensors.items()}


def original_decoder_layout(weights: Weights) -> dict[str, tuple[int, ...]]:
    """Return names and shapes in a file of the weights of an `ImageDecoder` or `StateDecoder`."""
    rules = reversed_rules(_HEADS)
    return {rename(name, rules): tuple(value.shape) for name, value in weights.items()}


def rename(name: str, rules: Rules) -> str:
    """Return a name with its beginning replaced by the first rule that matches."""
    for before, after in rules:
        pattern = re.escape(before).replace(r"\{\}", r"(\d+)")
        match = re.match(pattern, name)
        if match:
            return after.format(*match.groups()) + name[match.end() :]
    return name


def reversed_rules(rules: Rules) -> Rules:
    """Return the rules of the way back."""
    return tuple((after, before) for before, after in rules)


def _is_convolution(name: str) -> bool:
    return name.endswith("_encoder.patch_embed.weight")


def _as_linear(value: Tensor) -> Tensor:
    return value.squeeze(-1) if value.ndim == 3 else value  # convolution of width 1: [out, in, 1]
