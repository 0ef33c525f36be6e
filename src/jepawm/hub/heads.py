"""Decoders and probes on disk: folders beside the checkpoint of the world model whose latents they read."""

from functools import partial
from pathlib import Path
from typing import TypeVar

import torch
from cattrs.errors import BaseValidationError, ForbiddenExtraKeysError
from torch import nn

from jepawm.checkpoint import Checkpoint, load_checkpoint
from jepawm.decoding import DecodingConfig
from jepawm.errors import UserError
from jepawm.hub.proposers import fingerprint
from jepawm.models.latent_heads import HeadShape, Kind, LatentHead
from jepawm.models.weight_files import load_weights, require_layout
from jepawm.records import HeadRecord
from jepawm.strict_json import problems, strict_converter

FOLDERS: dict[Kind, str] = {"pixels": "decoder", "states": "probe"}
"""Names of the folders in a run."""
_LARGEST = 2**24
"""Numbers that are read out of one latent at most."""
_Config = TypeVar("_Config")


def load_head(
    folder: Path, *, kind: Kind, model: nn.Module, device: str | torch.device
) -> LatentHead:
    """Load the head in `folder`, which must have been trained for `model`."""
    checkpoint = load_checkpoint(folder)
    record = require_head(checkpoint, source=folder)
    if record.model != fingerprint(model):
        raise UserError(
            f"{folder} reads the latents of another world model than the one beside it; train one "
            "for this model by `jepawm train-decoder RUN --overwrite`"
        )
    settings = {key: value for key, value in record.config.items() if key not in _NOT_SETTINGS}
    config = _structure(settings, DecodingConfig, source=folder)
    shape = _structure(record.shape, HeadShape, source=folder)
    numbers = 1
    for size in shape.output:
        numbers *= size
    sizes = {"pixels": 3, "states": 1}
    if shape.kind != kind or len(shape.output) != sizes[kind] or not 0 < numbers <= _LARGEST:
        raise UserError(f"{folder} reads {shape.kind} of shape {shape.output}; copy it again")
    build = partial(LatentHead, config, shape)
    require_layout(build, checkpoint.tensors, source=folder, what=FOLDERS[kind])
    head = LatentHead(config, shape)
    load_weights(head, checkpoint.tensors, source=str(folder))
    return head.eval().requires_grad_(requires_grad=False).to(device)


def require_head(checkpoint: Checkpoint, *, source: Path) -> HeadRecord:
    """Return the record of a head; anything else is refused."""
    if not isinstance(checkpoint.record, HeadRecord):
        raise UserError(
            f"{source} holds no decoder or probe; make them by `jepawm train-decoder RUN`"
        )
    return checkpoint.record


_NOT_SETTINGS = ("seed", "num_episodes")
"""What a record's configuration holds besides `DecodingConfig`."""


def _structure(data: object, kind: type[_Config], *, source: Path) -> _Config:
    try:
        return strict_converter().structure(data, kind)
    except (BaseValidationError, ForbiddenExtraKeysError) as error:
        raise UserError(
            f"{source} is not a decoder or probe of this version: {problems(error)}"
        ) from error
