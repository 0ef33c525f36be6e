"""Learned rewards on disk: folders beside the checkpoint of the world model that they were trained on."""

from functools import partial
from pathlib import Path
from typing import get_args

import torch
from cattrs.errors import BaseValidationError, ForbiddenExtraKeysError
from torch import nn

from jepawm.checkpoint import Checkpoint, find_checkpoint, load_checkpoint
from jepawm.errors import UserError, plain_text
from jepawm.hub.proposers import fingerprint
from jepawm.models.rewards import RewardEnsemble, RewardShape
from jepawm.models.weight_files import load_weights, require_layout
from jepawm.records import JsonValue, RewardRecord
from jepawm.rewards import RewardHeadConfig, RewardKind
from jepawm.strict_json import problems, strict_converter

REWARD = "reward"
"""Name of the folder in a run, if the user gives no other."""


def load_reward(
    folder: Path, *, model: nn.Module, device: str | torch.device
) -> tuple[RewardEnsemble, RewardRecord]:
    """Load the reward in `folder`, which must have been trained on `model`, and what is said of it."""
    if find_checkpoint(folder) is None:
        raise UserError(
            f"there is no reward at {plain_text(str(folder))}; train one by `jepawm train-reward RUN`, or name "
            "another by reward(folder=...)"
        )
    checkpoint = load_checkpoint(folder)
    record = require_reward_record(checkpoint, source=folder)
    if record.model != fingerprint(model):
        raise UserError(
            f"{folder} was trained on another world model than the one beside it; train one for this "
            "model by `jepawm train-reward RUN --overwrite`"
        )
    try:
        config = strict_converter().structure(record.config.get("head"), RewardHeadConfig)
        shape = strict_converter().structure(record.shape, RewardShape)
    except (BaseValidationError, ForbiddenExtraKeysError) as error:
        raise UserError(f"{folder} is not a reward of this version: {problems(error)}") from error
    is_chance = kind_of(record, source=folder) == "success"
    require_layout(
        partial(RewardEnsemble, config, shape), checkpoint.tensors, source=folder, what="reward"
    )
    reward = RewardEnsemble(config, shape, is_chance=is_chance)
    load_weights(reward, checkpoint.tensors, source=str(folder))
    return reward.eval().requires_grad_(requires_grad=False).to(device), record


def require_reward_record(checkpoint: Checkpoint, *, source: Path) -> RewardRecord:
    """Return the record of a reward; anything else is refused."""
    if not isinstance(checkpoint.record, RewardRecord):
        raise UserError(f"{source} holds no reward; make one by `jepawm train-reward RUN`")
    return checkpoint.record


def kind_of(record: RewardRecord, *, source: Path) -> RewardKind:
    """Return what a reward learned from."""
    kind: JsonValue = record.source.get("kind")
    for known in get_args(RewardKind):
        if kind == known:
            return known
    raise UserError(f"{source}: source.kind = {kind!r}; copy the folder again")
