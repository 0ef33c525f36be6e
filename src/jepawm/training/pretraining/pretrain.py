"""The loop of a pretraining: clips, loss, step, average."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from jepawm.data.episodes import EpisodeStore
from jepawm.errors import UserError
from jepawm.models.frozen.preprocessing import prepare_images
from jepawm.training.optim import (
    OptimConfig,
    batch_indices,
    build_optimizer,
    set_schedule,
    step_generator,
)
from jepawm.training.pretraining.dino import SelfDistillation
from jepawm.training.pretraining.settings import DinoConfig, PretrainConfig
from jepawm.training.pretraining.vjepa import MaskedPrediction
from jepawm.training.state import moments_of, restore_moments

_LOG_EVERY, _SAVE_EVERY = 20, 200
_METHOD = "method."


SelfSupervised = SelfDistillation | MaskedPrediction
"""A method: a module whose forward returns `loss`, and `spread`: how far latents of frames lie apart."""


@dataclass(kw_only=True)
class PretrainState:
    """The method, its optimiser, and how many steps they have taken."""

    method: SelfSupervised
    """What is trained."""
    optimizer: torch.optim.AdamW
    """Optimiser over all of it but the average."""
    step: int = 0
    """Optimiser steps done."""


@dataclass(frozen=True, kw_only=True)
class PretrainHooks:
    """What the loop calls."""

    log: Callable[[int, Mapping[str, float]], None]
    """Takes the step and its metrics."""
    save: Callable[[], None]
    """Writes a checkpoint of the current state."""
    stop: Callable[[], bool]
    """Returns whether to stop."""


def new_pretraining(config: PretrainConfig) -> PretrainState:
    """Return the state at step 0; weights depend on the seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        method = (
            SelfDistillation(config) if isinstance(config, DinoConfig) else MaskedPrediction(config)
        )
    method.train()
    return PretrainState(method=method, optimizer=build_optimizer(method, config.optim))


def pretrain(
    state: PretrainState, store: EpisodeStore, *, config: PretrainConfig, hooks: PretrainHooks
) -> None:
    """Train until `optim.num_steps`, from wherever the state is, or until a stop is asked for.

    Every random choice is a function of the seed and the step.
    """
    optim, method = config.optim, state.method
    device = next(state.method.parameters()).device
    firsts = first_rows(store, num_frames=method.num_frames, frameskip=method.frameskip)
    while state.step < optim.num_steps and not hooks.stop():
        set_schedule(state.optimizer, optim, step=state.step)
        index = batch_indices(
            num_windows=len(firsts), batch_size=optim.batch_size, seed=config.seed, step=state.step
        )
        rows = firsts[index.numpy()][:, None] + method.frameskip * np.arange(method.num_frames)
        images = prepare_images(
            torch.from_numpy(store.frames(rows)).to(device),
            config.vit.image_size,
            normalization="half",
        )
        terms = method(images, generator=step_generator(config.seed, state.step))
        _descend(state, terms, optim)
        state.step += 1
        method.follow(state.step / optim.num_steps)
        if state.step % _LOG_EVERY == 0 or state.step == optim.num_steps:
            values = {f"train/{name}": float(term.detach()) for name, term in terms.items()}
            hooks.log(state.step, values)
        if state.step % _SAVE_EVERY == 0:
            hooks.save()


def _descend(state: PretrainState, terms: Mapping[str, Tensor], optim: OptimConfig) -> None:
    loss = terms["loss"]
    if not bool(loss.isfinite()):
        raise UserError(
            f"the loss of the pretraining became {float(loss.detach())} at step {state.step + 1}; the last "
            "checkpoint is kept; start anew with a lower --optim.learning-rate"
        )
    state.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    if optim.clip_norm > 0:
        clip_grad_norm_(state.method.parameters(), optim.clip_norm)
    state.optimizer.step()


def first_rows(store: EpisodeStore, *, num_frames: int, frameskip: int) -> Int64[np.ndarray, " n"]:
    """Return the rows of the store at which a clip can begin and stay within its episode."""
    length = (num_frames - 1) * frameskip
    rows = [
        np.arange(start, start + frames - length)
        for start, frames in zip(store.starts, store.lengths, strict=True)
        if frames > length
    ]
    if not rows:
        raise UserError(
            f"{store.path} has no episode of {length + 1} frames, the length of a clip of "
            f"{num_frames} frames {frameskip} steps apart; lower --num-frames or --frameskip"
        )
    return np.concatenate(rows)


def pretraining_tensors(state: PretrainState) -> dict[str, Tensor]:
    """Return by name what a resumption needs."""
    weights = {_METHOD + name: value for name, value in state.method.state_dict().items()}
    moments = moments_of(state.method, state.optimizer)
    return {**weights, **moments, "step": torch.tensor(state.step)}


def restore_pretraining(state: PretrainState, tensors: Mapping[str, Tensor]) -> None:
    """Put back what `pretraining_tensors` returned."""
    names = state.method.state_dict()
    missing = [name for name in names if _METHOD + name not in tensors]
    if missing or "step" not in tensors:
        raise UserError(
            f"the training state lacks {', '.join(missing[:3]) or 'step'}; train anew by --overwrite"
        )
    state.method.load_state_dict({name: tensors[_METHOD + name] for name in names})
    state.step = int(tensors["step"])
    if state.step > 0:
        restore_moments(state.method, state.optimizer, tensors=tensors)
