"""Weights of frozen encoders, from the files that their authors published or from transformers.

Files (`.pth`, `.pt`, `.safetensors`) carry the authors' tensor names; folders and the Hugging Face
hub carry those of transformers.
"""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor

from jepawm.errors import UserError
from jepawm.models.frozen.backbones import BackboneShape, FrozenFamily, require_transformers
from jepawm.models.frozen.encoder import (
    AnyFrozenConfig,
    FrozenEncoder,
    FrozenEncoderConfig,
    TimmEncoderConfig,
    build_frozen_encoder,
)
from jepawm.models.frozen.layouts import RESAMPLING, convert_encoder, resampled
from jepawm.models.frozen.timm_encoders import load_timm_encoder
from jepawm.models.weight_files import load_weights, read_weight_file, strip_prefixes


def load_frozen_encoder(
    config: AnyFrozenConfig, *, shape: BackboneShape | None = None
) -> FrozenEncoder:
    """Build a frozen encoder with the weights that `config.weights` names.

    Random weights depend on their seed alone, and no random number of the caller is used.

    Args:
        config: which encoder, and where its weights are.
        shape: sizes of the transformer; None: the published ones. Models of timm have their own.

    Raises:
        UserError: if the weights are not there, damaged or of another model.
    """
    if isinstance(config, TimmEncoderConfig):
        return load_timm_encoder(config)
    seed, side = config.random_seed, config.image_size // (shape or config.shape).patch_size
    published = _published(config, side=side) if seed is None else None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed or 0)
        encoder = build_frozen_encoder(config, shape)
    if published is not None:
        load_weights(encoder.backbone, published[1], source=published[0])
    return encoder


def require_same_encoder(encoder: FrozenEncoder, saved: object, *, source: str) -> None:
    """Check that an encoder is the one whose identity `source` holds, as plain JSON.

    Raises:
        UserError: if it is another; the message says what differs.
    """
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
    """Return the encoder's repository on the Hugging Face hub.

    Raises:
        UserError: if it has none.
    """
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


def _published(config: FrozenEncoderConfig, *, side: int) -> tuple[str, dict[str, Tensor]]:
    """Return where the published weights lie, and the weights by the backbone's names."""
    resampling = RESAMPLING.get(config.family)
    source = Path(config.weights).expanduser()
    if config.weights == "hub" or source.is_dir():
        place = hub_name(config) if config.weights == "hub" else str(source)
        return place, resampled(_from_transformers(config, place), side, resampling=resampling)
    if not source.is_file():
        raise UserError(
            f"encoder.weights: {source} is missing; give the path of {file_name(config)}"
        )
    public = strip_prefixes(read_weight_file(source, "encoder"), "module.", "backbone.")
    weights = convert_encoder(config.family, public, side=side, resampling=resampling)
    return str(source), weights


def _from_transformers(config: FrozenEncoderConfig, place: str) -> dict[str, Tensor]:
    require_transformers()
    from transformers import AutoModel

    try:
        model, report = AutoModel.from_pretrained(
            place, use_safetensors=True, dtype=torch.float32, output_loading_info=True
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


_SUBMODULE: dict[FrozenFamily, str] = {"vjepa2": "encoder"}
"""The encoder inside the model of transformers, where it is not the whole."""
_WORDS = {"S": "small", "B": "base", "L": "large", "H": "huge", "g": "giant"}
