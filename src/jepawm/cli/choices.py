"""`--encoder FAMILY` and the fields of the encoder that it names."""

from dataclasses import replace
from typing import TYPE_CHECKING, get_args, get_type_hints

from jepawm.errors import UserError

if TYPE_CHECKING:  # at run time they are imported when needed: help does not wait for torch
    from jepawm.experiment import AnyEncoderConfig, Experiment

_GRID = 16
"""Patches per side, as in the released world models."""


def choose_encoder(experiment: "Experiment", family: str) -> "Experiment":
    """Return the experiment with a new encoder.

    Loss terms that only learned encoders need are turned off beside a frozen one.
    """
    from jepawm.models.encoders import EncoderConfig

    encoder, loss = new_encoder(family), experiment.loss
    if not isinstance(encoder, EncoderConfig):
        loss = replace(loss, regularizer="none", inverse_dynamics_weight=0.0, temporal_weight=0.0)
    return replace(experiment, encoder=encoder, loss=loss)


def new_encoder(family: str) -> "AnyEncoderConfig":
    """Return the smallest encoder of a family, for images of 16 x 16 patches if it is frozen.

    Raises:
        UserError: if there is no such family.
    """
    from jepawm.models.encoders import EncoderConfig
    from jepawm.models.frozen.backbones import SHAPES
    from jepawm.models.frozen.encoder import FrozenEncoderConfig, TimmEncoderConfig

    if family.startswith("timm:"):
        return TimmEncoderConfig(model=family.removeprefix("timm:"))
    for (name, size), shape in SHAPES.items():
        if name == family:
            return FrozenEncoderConfig(family=name, size=size, image_size=_GRID * shape.patch_size)
    if family not in get_args(get_type_hints(EncoderConfig)["family"]):
        raise UserError(f"unknown encoder {family!r} (known: {encoder_names()})")
    return EncoderConfig(family=family)  # pyright: ignore[reportArgumentType]


def encoder_names() -> str:
    """Return the families of encoders as text."""
    from jepawm.models.encoders import EncoderConfig
    from jepawm.models.frozen.backbones import SHAPES

    learned = get_args(get_type_hints(EncoderConfig)["family"])
    return ", ".join([*learned, *dict.fromkeys(family for family, _ in SHAPES), "timm:NAME"])
