"""Train a map from latents to texts: a latent shall lie nearer to what is true of it than to the rest."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from jepawm.data.windows import Windows
from jepawm.models.text import TextEncoder
from jepawm.models.text_head import PROBE_TEXT, TextHead, text_shape
from jepawm.models.world_model import JEPAWorldModel
from jepawm.texts import TextConfig
from jepawm.training.optim import (
    OptimConfig,
    batch_indices,
    build_optimizer,
    step_generator,
)
from jepawm.training.parts import PartHooks, PartState, part_optim, train_part
from jepawm.training.rewards import encode_and_predict
from jepawm.training.validation import encode_windows

_SCALING_WINDOWS = 512


@dataclass(frozen=True, kw_only=True)
class Captioned:
    """Pieces of experience, sentences, and which of them are true when."""

    windows: Windows
    """One frame, and the blocks that follow it."""
    sentences: tuple[str, ...]
    """All sentences `[C]`."""
    meanings: Int64[Tensor, " C"]
    """Which meaning each sentence has."""
    holds: Bool[Tensor, "F M"]
    """Which meanings are true of the frames of the store."""

    def true(self, index: Int64[Tensor, " B"]) -> Bool[Tensor, "B T C"]:
        """Return which sentences are true after each block of windows `[B]`."""
        windows, chosen = self.windows, index.numpy()
        table = windows.table[chosen]
        first = windows.store.starts[table[:, 0]] + table[:, 1]
        steps = windows.frameskip * np.arange(1, windows.num_steps + 1)
        rows = torch.from_numpy(first[:, None] + steps)
        return self.holds[rows][..., self.meanings]


@dataclass(kw_only=True)
class TextState(PartState):
    """What training a map changes."""

    head: TextHead
    """The network."""
    vectors: Float[Tensor, "C E"]
    """Where the sentences lie; fixed."""

    @property
    def module(self) -> TextHead:
        """Return the network."""
        return self.head


def new_text_head(
    model: JEPAWorldModel, data: Captioned, *, encoder: TextEncoder, config: TextConfig, seed: int
) -> TextState:
    """Build a head for a world model and a text encoder, its inputs scaled by some windows."""
    device = next(model.parameters()).device
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        latents, _ = encode_windows(
            model, data.windows, num_windows=_SCALING_WINDOWS, device=device
        )
        head = TextHead(config.head, text_shape(latents, text_dim=encoder.dim)).to(device)
        texts = encoder.encode(data.sentences).to(device)
        head.fit(latents, texts=texts, probe=encoder.encode([PROBE_TEXT])[0].to(device))
        vectors = head.placed(texts)
    optimizer = build_optimizer(head, _optim(config))
    return TextState(head=head, optimizer=optimizer, vectors=vectors)


def train_text_head(
    state: TextState,
    model: JEPAWorldModel,
    *,
    data: Captioned,
    config: TextConfig,
    seed: int,
    hooks: PartHooks,
) -> None:
    """Train until `config.num_steps`, from wherever the state is, or until a stop is asked for.

    Every random choice is a function of the seed and the step.
    """
    weight = config.predicted_weight

    def terms_of(step: int) -> dict[str, Tensor]:
        index = batch_indices(
            num_windows=len(data.windows), batch_size=config.batch_size, seed=seed, step=step
        )
        latents, _, predicted = encode_and_predict(model, data.windows, index=index)
        true = data.true(index).flatten(0, 1).to(state.vectors.device)
        terms = {
            name: contrastive_loss(
                state.head.scale * state.head(view).flatten(0, 1) @ state.vectors.T, true
            )
            for name, view in (("seen", latents), ("predicted", predicted))
        }
        loss = (1 - weight) * terms["seen"] + weight * terms["predicted"]
        return {"loss": loss, **terms}

    train_part(state, terms_of, optim=_optim(config), hooks=hooks, name="map to texts", check="")


def contrastive_loss(scores: Float[Tensor, "n C"], true: Bool[Tensor, "n C"]) -> Float[Tensor, ""]:
    """Return how badly scores tell true from false, in both directions.

    Of each frame: the mean over its true sentences of the cross-entropy of that sentence among
    those that are false; and of each sentence the same over frames. Several positives, none of
    which pushes another away (Khosla et al., 2020, with all other positives left out below).
    """
    return 0.5 * (_one_way(scores, true) + _one_way(scores.T, true.T))


def _one_way(scores: Tensor, true: Tensor) -> Tensor:
    false = scores.masked_fill(true, float("-inf")).logsumexp(1, keepdim=True)  # [n, 1]
    each = torch.nn.functional.softplus(false - scores)  # -log(e^s / (e^s + sum of false))
    counts = true.sum(1)
    rows = (each.masked_fill(~true, 0.0)).sum(1) / counts.clamp(min=1)
    return rows.sum() / (counts > 0).sum().clamp(min=1)


@dataclass(frozen=True, kw_only=True)
class Retrieval:
    """How well a map finds what is true of pieces of experience that it has not seen."""

    num_frames: int
    """Predicted latents of which something can be said."""
    nearest_is_true: float | None
    """Part of them whose nearest sentence is true; None where there are none."""
    ranked: float | None
    """Chance that a frame where a sentence is true lies nearer to it than one where it is not; None
    where all sentences are always or never true."""


@torch.no_grad()
def retrieve(
    head: TextHead,
    model: JEPAWorldModel,
    *,
    data: Captioned,
    encoder: TextEncoder,
    num_pieces: int = 512,
) -> Retrieval:
    """Measure a map on latents that are predicted from the first frame of pieces, as plans do."""
    order = torch.randperm(len(data.windows), generator=step_generator(0, 0))[:num_pieces]
    index = order.sort().values
    _, _, predicted = encode_and_predict(model, data.windows, index=index)
    vectors = head.placed(encoder.encode(data.sentences).to(head.text_mean))
    scores = (head(predicted).flatten(0, 1) @ vectors.T).cpu()  # [n, C]
    true = data.true(index).flatten(0, 1)
    known = true.any(1)
    nearest = true.gather(1, scores.argmax(1, keepdim=True)).squeeze(1)[known]
    told = [_ranked(scores[:, c], true[:, c]) for c in range(scores.shape[1])]
    found = [one for one in told if one is not None]
    return Retrieval(
        num_frames=int(known.sum()),
        nearest_is_true=float(nearest.float().mean()) if len(nearest) else None,
        ranked=sum(found) / len(found) if found else None,
    )


def _ranked(scores: Float[Tensor, " n"], true: Bool[Tensor, " n"]) -> float | None:
    """Return the area under the curve of one sentence; None where it is always or never true."""
    positive, negative = int(true.sum()), int((~true).sum())
    if not positive or not negative:
        return None
    ranks = torch.empty(len(scores), dtype=torch.float64)
    ranks[scores.argsort()] = torch.arange(1, len(scores) + 1, dtype=torch.float64)
    return float((ranks[true].sum() - positive * (positive + 1) / 2) / (positive * negative))


def _optim(config: TextConfig) -> OptimConfig:
    return part_optim(
        num_steps=config.num_steps,
        batch_size=config.batch_size,
        learning_rate=config.learning_rate,
    )
