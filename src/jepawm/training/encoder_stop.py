"""End the learning of an encoder: its tokens are computed once, the predictor learns on."""

from typing import cast

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from torch import nn

from jepawm.data.episodes import EpisodeStore
from jepawm.data.features import KeptTokens
from jepawm.processes import is_first
from jepawm.training.objective import Learner
from jepawm.types import Observation

_BATCH = 256
"""Frames encoded at a time."""


def stop_encoder(learner: Learner, store: EpisodeStore, *, device: torch.device) -> KeptTokens:
    """Freeze the encoder and return its tokens of all frames of the store, as planning sees them.

    With several processes all call this, and each keeps all tokens.
    """
    learner.eval()
    tokens = encode_frames(learner, store, device=device)
    learner.train()
    cast(nn.Module, learner.model.encoder).requires_grad_(requires_grad=False)
    return tokens


@torch.no_grad()
def encode_frames(learner: Learner, store: EpisodeStore, *, device: torch.device) -> KeptTokens:
    """Encode every frame of a store, in its order; tokens stay in memory, float32."""
    num_frames = store.manifest.num_frames
    parts = []
    for start in track(
        range(0, num_frames, _BATCH),
        description="encoding all frames",
        console=Console(stderr=True, quiet=not is_first()),
    ):
        rows = np.arange(start, min(start + _BATCH, num_frames))
        pixels = torch.from_numpy(store.frames(rows)).to(device)
        proprio = None  # tokens do not depend on it, models with proprioception ask for it
        if store.proprio is not None:
            proprio = torch.from_numpy(store.proprio[rows]).to(device)
        parts.append(learner.encode(Observation(pixels=pixels, proprio=proprio)).tokens.cpu())
    return KeptTokens(array=torch.cat(parts))
