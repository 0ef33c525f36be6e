"""Maps from latents to texts on disk: folders beside the checkpoint of the model they were trained on."""

from functools import partial
from pathlib import Path

import torch
from cattrs.errors import BaseValidationError, ForbiddenExtraKeysError
from torch import nn
from torch.nn.functional import cosine_similarity

from jepawm.checkpoint import Checkpoint, find_checkpoint, load_checkpoint
from jepawm.errors import UserError, plain_text
from jepawm.hub.proposers import fingerprint
from jepawm.models.text import build_text_encoder
from jepawm.models.text_head import PROBE_TEXT, TextHead, TextReader, TextShape
from jepawm.models.weight_files import load_weights, require_layout
from jepawm.records import TextRecord
from jepawm.strict_json import problems, strict_converter
from jepawm.texts import TextHeadConfig

TEXT = "text"
"""Name of the folder in a run, if the user gives no other."""
_SAME = 0.999  # cosine between the probe's vectors of one encoder on two machines


def load_text(folder: Path, *, model: nn.Module, device: str | torch.device) -> TextReader:
    """Load the map in `folder`, which must have been trained on `model`, and its text encoder."""
    if find_checkpoint(folder) is None:
        raise UserError(
            f"there is no map to texts at {plain_text(str(folder))}; train one by `jepawm train-text "
            "RUN`, or name another by text(folder=...)"
        )
    checkpoint = load_checkpoint(folder)
    record = require_text_record(checkpoint, source=folder)
    if record.model != fingerprint(model):
        raise UserError(
            f"{folder} was trained on another world model than the one beside it; train one for this "
            "model by `jepawm train-text RUN --overwrite`"
        )
    name = record.config.get("text")
    try:
        config = strict_converter().structure(record.config.get("head"), TextHeadConfig)
        shape = strict_converter().structure(record.shape, TextShape)
    except (BaseValidationError, ForbiddenExtraKeysError) as error:
        raise UserError(
            f"{folder} is not a map to texts of this version: {problems(error)}"
        ) from error
    if not isinstance(name, str):
        raise UserError(f"{folder}: config.text = {name!r}; copy the folder again")
    build = partial(TextHead, config, shape)
    require_layout(build, checkpoint.tensors, source=folder, what="map to texts")
    head = TextHead(config, shape)
    load_weights(head, checkpoint.tensors, source=str(folder))
    head.eval().requires_grad_(requires_grad=False).to(device)
    encoder = build_text_encoder(name, device=device)
    now = encoder.encode([PROBE_TEXT])[0].to(head.probe)
    if now.shape != head.probe.shape or float(cosine_similarity(now, head.probe, dim=0)) < _SAME:
        raise UserError(
            f"{folder} was trained with another text encoder than the {name} that is here; install "
            "the one of its training, or train anew by `jepawm train-text RUN --overwrite`"
        )
    return TextReader(head, encoder)


def require_text_record(checkpoint: Checkpoint, *, source: Path) -> TextRecord:
    """Return the record of a map to texts; anything else is refused."""
    if not isinstance(checkpoint.record, TextRecord):
        raise UserError(f"{source} holds no map to texts; make one by `jepawm train-text RUN`")
    return checkpoint.record
