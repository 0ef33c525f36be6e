"""World models and their parts."""

from jepawm.registry import Registry, configuration, function_or

ENCODERS = Registry(
    "encoder",
    {
        "conv": "jepawm.models.encoders:EncoderConfig",
        "vit": "jepawm.models.encoders:vit",
        "class_token": "jepawm.models.class_token:ClassTokenConfig",
        "dinov2": "jepawm.models.frozen.encoder:dinov2",
        "dinov2_reg": "jepawm.models.frozen.encoder:dinov2_reg",
        "dinov3": "jepawm.models.frozen.encoder:dinov3",
        "vjepa": "jepawm.models.frozen.encoder:vjepa",
        "vjepa2": "jepawm.models.frozen.encoder:vjepa2",
        "random": "jepawm.models.frozen.encoder:random_vit",
        "small_vit": "jepawm.models.frozen.encoder:SmallViTConfig",
        "efficientnet_lite0": "jepawm.models.frozen.encoder:efficientnet_lite0",
        "timm:NAME": "jepawm.models.frozen.encoder:timm",
    },
    rule=function_or(configuration("build")),
)
"""Encoders by name: frozen dataclasses with `build`, or functions that return one."""

__all__ = ["ENCODERS"]
