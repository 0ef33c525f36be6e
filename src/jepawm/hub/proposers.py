"""Proposers on disk: a folder beside the checkpoint of the world model that they were trained through."""

import hashlib
from functools import partial
from pathlib import Path
from typing import TypeVar

import torch
from cattrs.errors import BaseValidationError, ForbiddenExtraKeysError
from torch import nn

from jepawm.checkpoint import Checkpoint, find_checkpoint, load_checkpoint
from jepawm.errors import UserError
from jepawm.models.proposer import Proposer, ProposerShape
from jepawm.models.weight_files import load_weights, require_layout, stored_weights
from jepawm.proposals import ProposerConfig, VerifyConfig
from jepawm.records import ProposerRecord
from jepawm.strict_json import problems, strict_converter

PROPOSER = "proposer"
"""Name of the folder in a run."""
_LARGEST_HORIZON = 4096
_Config = TypeVar("_Config")


def fingerprint(model: nn.Module) -> str:
    """Return the hash of the weights of a world model, those of a frozen encoder apart."""
    digest = hashlib.sha256()
    for name, value in sorted(stored_weights(model).items()):
        content = value.detach().cpu().contiguous()
        digest.update(f"{name} {content.dtype} {tuple(content.shape)};".encode())
        digest.update(content.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def load_proposer(folder: Path, *, model: nn.Module, device: str | torch.device) -> Proposer:
    """Load the proposer in `folder`, which must have been trained through `model`."""
    checkpoint = load_checkpoint(folder)
    record = require_proposer(checkpoint, source=folder)
    require_same_model(record, model, source=folder)
    config = _structure(record.config.get("proposer"), ProposerConfig, source=folder)
    shape = _structure(record.shape, ProposerShape, source=folder)
    if not 1 <= shape.horizon <= _LARGEST_HORIZON:
        raise UserError(f"{folder}: shape.horizon = {shape.horizon}; copy the folder again")
    build = partial(Proposer, config, shape)
    require_layout(build, checkpoint.tensors, source=folder, what="proposer")
    proposer = Proposer(config, shape)
    load_weights(proposer, checkpoint.tensors, source=str(folder))
    return proposer.eval().requires_grad_(requires_grad=False).to(device)


def own_verify(run: Path) -> VerifyConfig:
    """Return what `propose` does with the plans of the proposer in a run.

    The defaults where there is none, or one of a version without these settings.
    """
    folder = run / PROPOSER
    if find_checkpoint(folder) is None:
        return VerifyConfig()
    own = require_proposer(load_checkpoint(folder), source=folder).config.get("verify")
    return VerifyConfig() if own is None else _structure(own, VerifyConfig, source=folder)


def require_proposer(checkpoint: Checkpoint, *, source: Path) -> ProposerRecord:
    """Return the record of a proposer; anything else is refused."""
    if not isinstance(checkpoint.record, ProposerRecord):
        raise UserError(f"{source} holds no proposer; make one by `jepawm train-proposer RUN`")
    return checkpoint.record


def require_same_model(record: ProposerRecord, model: nn.Module, *, source: Path) -> None:
    """Refuse a proposer of another world model: its latents mean something else."""
    if record.model != fingerprint(model):
        raise UserError(
            f"{source} was trained through another world model than the one beside it; train one "
            "for this model by `jepawm train-proposer RUN --overwrite`"
        )


def _structure(data: object, kind: type[_Config], *, source: Path) -> _Config:
    try:
        return strict_converter().structure(data, kind)
    except (BaseValidationError, ForbiddenExtraKeysError) as error:
        raise UserError(f"{source} is not a proposer of this version: {problems(error)}") from error
