"""Measure a world model on held-out windows: prediction errors, collapse, probe."""

import logging
from collections.abc import Mapping
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from jepawm.contracts import Encoder
from jepawm.data.windows import Windows
from jepawm.metrics_log import find_gaps
from jepawm.models.heads import LinearProbe
from jepawm.models.world_model import JEPAWorldModel
from jepawm.training.losses import Learner
from jepawm.training.regularizers import effective_rank
from jepawm.types import Context, Latent, concatenate

_LOG = logging.getLogger(__name__)
_BATCH = 64
_COLLAPSED_RANK = 2.0
_LEAST_FRAME_SHARE = 0.01
_NUMBERS = 2**25
"""Latent numbers that the rank and the probe are computed from at most: 256 MB in float64."""


@torch.no_grad()
def validate(
    model: JEPAWorldModel | Learner, windows: Windows, *, num_windows: int, device: torch.device
) -> dict[str, float]:
    """Return errors of k-step predictions and signs of collapse on held-out windows.

    `val/prediction_k{k}` is the squared error after k steps from the first frame divided by the
    variance of the latents: 1 is as bad as predicting the mean. `val/prediction` and `val/rollout`,
    for a learner, are terms of its loss. A warning is logged where the latents have collapsed: an
    effective rank below 2, or tokens that differ from place to place and not from frame to frame.
    """
    model.eval()
    index = spaced_indices(windows, num_windows)
    frames = len(index) * (windows.num_steps + 1)
    error, total, squares = (torch.zeros((), device=device, dtype=torch.float64) for _ in range(3))
    kept: list[Tensor] = []
    terms: dict[str, float] = {}
    for part in index.split(_BATCH):
        batch = windows.batch(part).to(device)
        latents = model.encode(batch.obs)  # [b, T+1]
        context = Context(latents=latents[:, :1], actions=batch.actions[:, :0])
        predicted = model.rollout(context, batch.actions)  # [b, T]
        distance = (predicted.tokens - latents.tokens[:, 1:]).square().mean((2, 3))  # [b, T]
        error = error + distance.sum(0) / len(index)
        if isinstance(model, Learner):
            for name, value in model.held_out(latents, batch.actions).items():
                key = f"val/{name}"
                terms[key] = terms.get(key, 0.0) + value.item() * len(part) / len(index)
        flat = latents.tokens.flatten(0, 1).flatten(1)  # [b (T+1), N D]
        total, squares = total + flat.double().sum(0), squares + flat.double().square().sum(0)
        kept.append(flat[:: 1 + frames * flat.shape[1] // _NUMBERS])
    variance = ((squares - total.square() / frames) / (frames - 1)).mean().clamp(min=0)
    encoder = _encoder(model)
    places = (total / frames).view(encoder.num_tokens, -1).var(0, correction=0).mean()
    share = (variance / (variance + places).clamp(min=1e-12)).item()
    metrics = terms | {
        f"val/prediction_k{step}": (value / variance).item()
        for step, value in enumerate(error, start=1)
    }
    rank = effective_rank(torch.cat(kept))
    metrics |= {"val/effective_rank": rank, "val/latent_std": variance.sqrt().item()}
    metrics |= {"val/frame_share": share}
    learned = any(weight.requires_grad for weight in cast(nn.Module, encoder).parameters())
    _warn_of_collapse(rank, share, width=len(total), learned=learned)
    return metrics


def warn_of_gaps(metrics: Mapping[str, float]) -> None:
    """Log a warning for each loss that validation and training disagree about tenfold."""
    for gap in find_gaps(metrics):
        _LOG.warning("%s", gap)


def _warn_of_collapse(rank: float, share: float, *, width: int, learned: bool) -> None:
    if rank < _COLLAPSED_RANK:
        _LOG.warning(
            "the latents have collapsed: effective rank %.2f of %d; "
            "raise loss.regularizer_weight or choose loss.regularizer sigreg",
            rank,
            width,
        )
    elif learned and share < _LEAST_FRAME_SHARE:
        _LOG.warning(
            "the tokens hardly tell one frame from another: %.2g of their variance, the rest is "
            "between places of the image; set encoder.batch_norm to True and encoder.statistics "
            "to centred, or raise loss.regularizer_weight",
            share,
        )


def _encoder(model: JEPAWorldModel | Learner) -> Encoder:
    return model.model.encoder if isinstance(model, Learner) else model.encoder


@torch.no_grad()
def encode_windows(
    model: JEPAWorldModel | Learner, windows: Windows, *, num_windows: int, device: torch.device
) -> tuple[Latent, Float[Tensor, "n T A"]]:
    """Encode evenly spaced windows into latents `[n, T+1]`; returns their actions too."""
    index = spaced_indices(windows, num_windows)
    latents: list[Latent] = []
    actions: list[Tensor] = []
    for part in index.split(_BATCH):
        batch = windows.batch(part).to(device)
        latents.append(model.encode(batch.obs))
        actions.append(batch.actions)
    return concatenate(latents, dim=0), torch.cat(actions)


def fit_probe(
    model: JEPAWorldModel | Learner,
    train_windows: Windows,
    *,
    val_windows: Windows,
    num_windows: int,
    device: torch.device,
) -> tuple[LinearProbe, float]:
    """Fit a linear probe of the simulator state; returns it and its mean error on `val_windows`."""
    model.eval()
    latents, states = _latents_and_states(model, train_windows, num_windows, device)
    probe = LinearProbe.fit(latents, states)
    latents, states = _latents_and_states(model, val_windows, num_windows, device)
    error = (probe(latents) - states).norm(dim=-1).mean()
    return probe, error.item()


def spaced_indices(windows: Windows, num_windows: int) -> Tensor:
    """Return indices of at most `num_windows` windows, evenly spaced over all."""
    count = min(num_windows, len(windows))
    return torch.arange(count) * len(windows) // count


def _latents_and_states(
    model: JEPAWorldModel | Learner, windows: Windows, num_windows: int, device: torch.device
) -> tuple[Latent, Tensor]:
    encoder = _encoder(model)
    width = (windows.num_steps + 1) * encoder.num_tokens * encoder.dim
    num_windows = max(1, min(num_windows, _NUMBERS // width))
    latents, _ = encode_windows(model, windows, num_windows=num_windows, device=device)
    states = torch.from_numpy(windows.states(spaced_indices(windows, num_windows)))
    flat = latents.map(lambda tensor: tensor.flatten(0, 1))  # [n (T+1)]
    return flat, states.flatten(0, 1).float().to(device)
