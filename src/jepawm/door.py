"""The agent's door: which models, goals and observations come in; all else is named and refused."""

from math import isfinite

import numpy as np
import torch
from torch import Tensor, nn

from jepawm.contracts import WorldModel
from jepawm.errors import UserError
from jepawm.models.world_model import JEPAWorldModel
from jepawm.normalizer import Normalizer
from jepawm.types import Observation

_PICTURES = "uint8 pictures [B, 3, height, width], 0 to 255"


def require_fitting(model: WorldModel, normalizer: Normalizer, *, frameskip: int) -> None:
    """Refuse statistics, or a length of action blocks, with which a model cannot plan."""
    for name in ("action_mean", "action_std", "proprio_mean", "proprio_std"):
        values: Tensor | None = getattr(normalizer, name)
        bad = [] if values is None else [one for one in values.tolist() if not isfinite(one)]
        if bad:
            raise UserError(
                f"normalizer.{name} holds {bad[0]}, with which every plan would be NaN; compute "
                "the statistics again"
            )
        if values is not None and name.endswith("std") and not bool((values > 0).all()):
            raise UserError(f"normalizer.{name} = {values.tolist()}; give numbers above 0")
    if not isinstance(model, JEPAWorldModel):
        return
    width = frameskip * normalizer.action_dim
    if width != model.action_dim:
        raise UserError(
            f"protocol.frameskip = {frameskip} makes action blocks of {frameskip} x "
            f"{normalizer.action_dim} = {width} numbers, and the model takes {model.action_dim}; "
            "give the frameskip and the statistics that it was trained with"
        )
    here, there = normalizer.action_mean.device, model.predictor.norm.weight.device
    if here != there:
        raise UserError(
            f"the normalizer is on {here} and the model on {there}; move one to the other's device"
        )


def require_evaluation(model: WorldModel) -> None:
    """Refuse a model of which a part is in training mode, where dropout and batch norm act."""
    if isinstance(model, nn.Module) and any(part.training for part in model.modules()):
        raise UserError(
            "the model is in training mode, in which dropout and batch norm change its plans; call "
            "model.eval() first"
        )


def admit(
    obs: object,
    *,
    what: str,
    model: WorldModel,
    normalizer: Normalizer,
    goal: Observation | None = None,
) -> Observation:
    """Return an observation `[B]` of tensors, checked; arrays of NumPy become tensors.

    Args:
        obs: what was given.
        what: its name for messages, `goal` or `observation`.
        model: the model that will see it.
        normalizer: statistics of the proprioception.
        goal: the goal of the episode, whose batch and picture size it must share; None for itself.
    """
    if not isinstance(obs, Observation):
        raise UserError(
            f"the {what} is {_kind(obs)}; give a jepawm.types.Observation with {_PICTURES}"
        )
    pixels = _pixels(obs.pixels, what)
    _require_size(pixels, what, model=model)
    if goal is not None and pixels.shape != goal.pixels.shape:
        raise UserError(
            f"{len(goal.pixels)} goals of {_size(goal.pixels)} pixels, and now {len(pixels)} "
            f"observations of {_size(pixels)}; give one goal for each observation, as many in each "
            "act, in one size"
        )
    return Observation(
        pixels=pixels,
        proprio=None
        if obs.proprio is None
        else _proprio(obs.proprio, what, count=len(pixels), normalizer=normalizer),
    )


def _pixels(given: object, what: str) -> Tensor:
    """Return pictures `[B, 3, height, width]`, uint8."""
    name = f"{what}.pixels"
    dtype = _dtype_of(given, name)
    if dtype != "uint8":
        times = ", for numbers from 0 to 1 by (255 * x).round()" if "float" in dtype else ""
        raise UserError(f"{name} is {dtype}; give {_PICTURES}{times}")
    pixels = _dense(given, name)
    shape = tuple(pixels.shape)
    if pixels.ndim == 3:
        raise UserError(f"{name} {shape} has no batch axis; give {_PICTURES}: pixels[None]")
    if pixels.ndim == 4 and shape[1] != 3 and shape[3] == 3:
        raise UserError(f"{name} {shape} has its channels last; give pixels.permute(0, 3, 1, 2)")
    if pixels.ndim != 4 or shape[1] != 3 or 0 in shape:
        raise UserError(f"{name} has the shape {shape}; give {_PICTURES}")
    return pixels


def _require_size(pixels: Tensor, what: str, *, model: WorldModel) -> None:
    """Refuse pictures of another size than those that the model learned from, where that is known."""
    side = model.image_size if isinstance(model, JEPAWorldModel) else None
    high = model.num_views * side if isinstance(model, JEPAWorldModel) and side else None
    if high is not None and tuple(pixels.shape[2:]) != (high, side):
        raise UserError(
            f"{what}.pixels are {_size(pixels)} pixels, and the model learned from {high} x {side}; "
            "render or crop and resize them to that size, as its data were"
        )


def _proprio(given: object, what: str, *, count: int, normalizer: Normalizer) -> Tensor:
    """Return the robot's own state `[B, P]`, finite, in the type of the statistics."""
    name = f"{what}.proprio"
    dtype = _dtype_of(given, name)
    if not dtype.startswith(("float", "bfloat", "int", "uint")):
        raise UserError(f"{name} is {dtype}; give numbers [B, P] in environment units")
    proprio = _dense(given, name).to(normalizer.action_mean.dtype)
    mean, shape = normalizer.proprio_mean, tuple(proprio.shape)
    width: int | str = "P" if mean is None else len(mean)
    if proprio.ndim != 2 or shape[0] != count or (mean is not None and shape[1] != width):
        raise UserError(
            f"{name} has the shape {shape}; give [{count}, {width}], one row for each picture"
        )
    if not bool(torch.isfinite(proprio).all()):
        raise UserError(f"{name} holds NaN or infinite numbers; give what was measured")
    return proprio


def _dtype_of(given: object, name: str) -> str:
    """Return the name of the type of numbers: `uint8`, `float32`, ..."""
    if not isinstance(given, Tensor | np.ndarray):
        raise UserError(f"{name} is {_kind(given)}; give a tensor, or an array of NumPy")
    return given.dtype.name if isinstance(given, np.ndarray) else str(given.dtype)[len("torch.") :]


def _dense(given: object, name: str) -> Tensor:
    if isinstance(given, np.ndarray):
        longest = np.float64 if given.dtype.name == "float128" else given.dtype
        native = np.dtype(longest).newbyteorder("=")
        return torch.from_numpy(given.astype(native))  # a copy: the array may change afterwards
    assert isinstance(given, Tensor)
    if given.layout != torch.strided or given.is_quantized or given.is_meta:
        raise UserError(f"{name} is a sparse, quantised or empty tensor; give a plain one")
    return given


def _size(pixels: Tensor) -> str:
    return " x ".join(map(str, pixels.shape[2:]))


def _kind(given: object) -> str:
    return "None" if given is None else f"a {type(given).__name__}"
