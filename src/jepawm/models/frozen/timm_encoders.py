"""Frozen encoders of the package timm, with the weights that it names or a file in its layout."""

from importlib import import_module
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor, nn

from jepawm.border import foreign
from jepawm.errors import UserError, missing_extra
from jepawm.files import expand_user
from jepawm.models.frozen.backbones import BackboneShape
from jepawm.models.frozen.encoder import FrozenEncoder, TimmEncoderConfig
from jepawm.models.weight_files import load_weights, read_weight_file


def load_timm_encoder(config: TimmEncoderConfig) -> FrozenEncoder:
    """Build a vision transformer of timm with the weights that `config.weights` names.

    timm resamples position tables in its own way, which differs from the authors' for DINOv2.
    """
    timm = _import_timm()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.random_seed or 0)
        try:
            backbone = timm.create_model(
                config.model, num_classes=0, global_pool="", img_size=config.image_size
            )
        except (RuntimeError, TypeError, ValueError, AssertionError) as error:
            raise UserError(
                f"timm cannot build {config.model!r} for images of {config.image_size} pixels "
                f"({_first_line(error)}); choose a vision transformer of timm.list_models() and a "
                "multiple of its patch"
            ) from error
    patch = getattr(getattr(backbone, "patch_embed", None), "patch_size", None)
    if not isinstance(patch, tuple) or patch[0] != patch[1] or config.image_size % patch[0]:
        raise UserError(
            f"{config.name} does not cut images of {config.image_size} pixels into square patches; "
            "choose a vision transformer and a multiple of its patch"
        )
    if config.random_seed is None:
        load_weights(backbone, _read(config, backbone), source=f"{config.name} {config.weights}")
    shape = BackboneShape(
        width=backbone.num_features,
        depth=len(backbone.blocks),
        num_heads=backbone.blocks[0].attn.num_heads,
        patch_size=patch[0],
    )
    return FrozenEncoder(config, backbone, shape=shape)


def _import_timm() -> ModuleType:
    try:
        return import_module("timm")
    except (ImportError, RuntimeError) as error:  # RuntimeError: torchvision does not fit torch
        raise missing_extra("this encoder", error, package="timm", extra="timm") from error


def _read(config: TimmEncoderConfig, backbone: nn.Module) -> dict[str, Tensor]:
    """Return published weights by the backbone's names, its classifier left out."""
    if config.weights == "hub":
        weights = _fetch(config, backbone)
    else:
        weights = read_weight_file(expand_user(Path(config.weights)), "state_dict")
    home = import_module(type(backbone).__module__)
    convert = getattr(home, "checkpoint_filter_fn", None)  # renames, and resamples the table
    if convert is not None:
        with foreign(config.weights, f"weights of {config.name}"):
            weights = convert(weights, backbone)
    return {k: v for k, v in weights.items() if not k.startswith(("head.", "head_dist."))}


def _fetch(config: TimmEncoderConfig, backbone: nn.Module) -> dict[str, Tensor]:
    place = getattr(backbone, "pretrained_cfg", {}).get("hf_hub_id")
    if not place:
        raise UserError(
            f"timm names no weights of {config.model!r} on the Hugging Face hub; set "
            "encoder.weights to a file, or encoder.model to a name with a tag"
        )
    try:
        return import_module("timm.models").load_state_dict_from_hf(place, weights_only=True)
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(
            f"cannot fetch {place} ({_first_line(error)}); fetch its model.safetensors where "
            "there is a network, and set encoder.weights to its path"
        ) from error


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
