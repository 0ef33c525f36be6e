"""What a command line chooses by a name: device, planner, encoder. Devices are named here only."""

from dataclasses import replace
from typing import TYPE_CHECKING, Literal, get_args, get_type_hints

from jepawm.errors import UserError
from jepawm.launch import read_launch
from jepawm.planning import PLANNERS

if TYPE_CHECKING:  # at run time they are imported when needed: help does not wait for torch
    from jepawm.experiment import AnyEncoderConfig, Experiment

DeviceName = Literal["auto", "cpu", "cuda", "mps"]

_GRID = 16
"""Patches per side, as in the released world models."""


def choose_device(name: DeviceName) -> str:
    """Return the device to compute on; `auto` takes an accelerator if there is one."""
    import torch

    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    present = [device for device, here in available.items() if here]
    if name == "auto":
        return present[0]
    if not available[name]:
        here = ", ".join(present)
        raise UserError(f"--device {name} is not on this machine (there are: auto, {here})")
    return name


def own_device(device: str) -> str:
    """Return the device of this process; those of a machine are dealt out to its processes."""
    launch = read_launch()
    if device != "cuda" or launch.count == 1:
        return device
    import torch

    return f"cuda:{launch.local_rank % torch.cuda.device_count()}"


def new_planner(name: str) -> object:
    """Build the planner called `name` with its defaults."""
    kind = PLANNERS.get(name)
    if not isinstance(kind, type):
        raise UserError(f"planner {name!r} is no class; mend the package that registers it")
    return kind()


def planner_names() -> str:
    """Return the names of all planners as text."""
    return ", ".join(PLANNERS.names())


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
    """Return the smallest encoder of a family, for images of 16 x 16 patches if it is frozen."""
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
