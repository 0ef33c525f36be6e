"""Weights of frozen encoders, from the files that their authors published or from transformers.

Files (`.pth`, `.pt`, `.safetensors`) carry the authors' tensor names; folders and the Hugging Face
hub carry those of transformers.
"""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from jepawm.border import foreign
from jepawm.errors import UserError, show
from jepawm.files import expand_user
from jepawm.models.frozen.backbones import BackboneShape, FrozenFamily, require_transformers
from jepawm.models.frozen.encoder import (
    POSITION_TABLE,
    AnyFrozenConfig,
    FrozenEncoder,
    FrozenEncoderConfig,
    SmallViTConfig,
    TimmEncoderConfig,
    build_frozen_encoder,
)
from jepawm.models.frozen.small_vit import load_small_vit
from jepawm.models.frozen.timm_encoders import load_timm_encoder
from jepawm.models.positions import resample_clip_table, resample_table
from jepawm.models.weight_files import load_weights, read_weight_file, strip_prefixes


def load_frozen_encoder(
    config: AnyFrozenConfig, *, shape: BackboneShape | None = None
) -> FrozenEncoder:
    """Build a frozen encoder with the weights that `config.weights` names.

    Random weights depend on their seed alone, and no random number of the caller is used.

    Args:
        config: which encoder, and where its weights are.
        shape: sizes of the transformer; None: the published ones. Models of timm have their own.
    """
    if isinstance(config, TimmEncoderConfig):
        return load_timm_encoder(config)
    if isinstance(config, SmallViTConfig):
        return load_small_vit(config)
    seed, side = config.random_seed, config.image_size // (shape or config.shape).patch_size
    published = _published(config, shape or config.shape, side=side) if seed is None else None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed or 0)
        encoder = build_frozen_encoder(config, shape)
    if published is not None:
        load_weights(encoder.backbone, published[1], source=published[0])
    return encoder


def require_same_encoder(encoder: FrozenEncoder, saved: object, *, source: str) -> None:
    """Check that an encoder is the one whose identity `source` holds, as plain JSON."""
    here = asdict(encoder.identity)
    there = saved if isinstance(saved, Mapping) else {}
    differing = [
        f"{name} {there.get(name)!r} there, {value!r} here"
        for name, value in here.items()
        if name != "weights" and there.get(name) != value
    ]
    if differing:
        raise UserError(
            f"{source} belongs to another frozen encoder: {'; '.join(differing)}; weights there "
            f"were {there.get('weights')!r}, here {here['weights']!r}; set encoder.weights to the "
            "same weights"
        )


def hub_name(config: FrozenEncoderConfig) -> str:
    """Return the encoder's repository on the Hugging Face hub."""
    if config.family == "vjepa":
        raise UserError(
            f"{config.name} is not on the Hugging Face hub; fetch {file_name(config)} from its "
            "authors and set encoder.weights to its path"
        )
    letter, word = config.size.lower(), _WORDS[config.size]
    names: dict[FrozenFamily, str] = {
        "dinov2": f"dinov2-{word}",
        "dinov2_reg": f"dinov2-with-registers-{word}",
        "dinov3": f"dinov3-vit{letter}16-pretrain-lvd1689m",
        "vjepa2": f"vjepa2-vit{letter}-fpc64-256",
    }
    return f"facebook/{names[config.family]}"


def file_name(config: FrozenEncoderConfig) -> str:
    """Return the name of the file that the authors publish."""
    letter = config.size.lower()
    names: dict[FrozenFamily, str] = {
        "dinov2": f"dinov2_vit{letter}14_pretrain.pth",
        "dinov2_reg": f"dinov2_vit{letter}14_reg4_pretrain.pth",
        "dinov3": f"dinov3_vit{letter}16_pretrain_lvd1689m.pth",
        "vjepa": f"vit{letter}16.pth.tar",
        "vjepa2": f"vit{letter}.pt",
    }
    return names[config.family]


def _published(
    config: FrozenEncoderConfig, shape: BackboneShape, *, side: int
) -> tuple[str, dict[str, Tensor]]:
    """Return where the published weights are stored, and the weights by the backbone's names."""
    resampling = RESAMPLING.get(config.family)
    source = expand_user(Path(config.weights))
    if config.weights == "hub" or source.is_dir():
        place = hub_name(config) if config.weights == "hub" else str(source)
        weights = _from_transformers(config, shape, place=place)
        with foreign(place, f"weights of {config.name}"):
            return place, resampled(weights, side, resampling=resampling)
    if not source.is_file():
        raise UserError(
            f"encoder.weights: {source} is missing; give the path of {file_name(config)}"
        )
    public = strip_prefixes(read_weight_file(source, "encoder"), "module.", "backbone.")
    with foreign(source, f"weights of {config.name}"):
        return str(source), convert_encoder(config.family, public, side=side, resampling=resampling)


def _from_transformers(
    config: FrozenEncoderConfig, shape: BackboneShape, *, place: str
) -> dict[str, Tensor]:
    require_transformers()
    from transformers import AutoConfig, AutoModel

    try:
        # Its configuration may name code, kernels or a model of any size: none of them is taken.
        described = AutoConfig.from_pretrained(place, trust_remote_code=False)
        _require_described(config, shape, described.to_dict(), place=place)
        model, report = AutoModel.from_pretrained(
            place,
            config=described,
            trust_remote_code=False,
            attn_implementation="eager",
            use_safetensors=True,
            dtype=torch.float32,
            output_loading_info=True,
        )
    except (OSError, ValueError, RuntimeError) as error:
        first_line = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(
            f"no weights of {config.family} {config.size}: cannot load model.safetensors of "
            f"{place} ({first_line}); fetch it where there is a network, or set encoder.weights to "
            f"the path of {file_name(config)}"
        ) from error
    part = _SUBMODULE.get(config.family, "")
    missing = sorted(name for name in report["missing_keys"] if name.startswith(part))
    if missing:  # transformers would have filled them with random numbers
        raise UserError(
            f"{place} lacks weights of {config.family} {config.size}: {', '.join(missing[:8])}"
        )
    return dict(model.get_submodule(part).state_dict())


def _require_described(
    config: FrozenEncoderConfig,
    shape: BackboneShape,
    described: Mapping[str, object],
    *,
    place: str,
) -> None:
    """Compare what a folder of transformers says of its model with the encoder that is wanted."""
    wanted = {"model_type": _MODEL_TYPES.get(config.family), "quantization_config": None}
    differing = [
        f"{name} {show(described.get(name))} instead of {value!r}"
        for name, value in wanted.items()
        if described.get(name) != value
    ]
    for name, most in (("hidden_size", shape.width), ("num_hidden_layers", shape.depth)):
        value = described.get(name)
        if not isinstance(value, int) or value > most:
            differing.append(f"{name} {show(value)} instead of {most}")
    if differing:
        raise UserError(
            f"{place} is not {config.family} {config.size}: {'; '.join(differing)}; set "
            "encoder.weights to the folder of this encoder"
        )


_MODEL_TYPES: dict[FrozenFamily, str] = {
    "dinov2": "dinov2",
    "dinov2_reg": "dinov2_with_registers",
    "dinov3": "dinov3_vit",
    "vjepa2": "vjepa2",
}
"""What transformers calls the families."""
_SUBMODULE: dict[FrozenFamily, str] = {"vjepa2": "encoder"}
"""The encoder inside the model of transformers, where it is not the whole."""
_WORDS = {"S": "small", "B": "base", "L": "large", "H": "huge", "g": "giant"}


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
