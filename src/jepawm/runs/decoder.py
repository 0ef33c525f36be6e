"""`jepawm train-decoder`: a decoder and a probe for a trained world model, saved beside its checkpoint."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter

from jepawm.decoding import DecodingConfig
from jepawm.engine.process import tune_process
from jepawm.errors import UserError
from jepawm.hub.heads import FOLDERS, require_head
from jepawm.hub.load import LoadedModel, load
from jepawm.hub.proposers import fingerprint
from jepawm.models.latent_heads import Kind
from jepawm.records import HeadRecord
from jepawm.runs.beside import (
    find_saved,
    require_model_in,
    restore_beside,
    run_beside,
    split_store,
    train_beside,
)
from jepawm.training.decoding import (
    Frames,
    HeadState,
    measure_pictures,
    measure_states,
    new_head,
    optim_of,
    train_head,
)

_HELD_OUT_FRAMES = 512


@dataclass(frozen=True, kw_only=True)
class DecoderRules:
    """Where a decoder is trained, and on what."""

    out: Path | None = None
    """Folder that gets a copy of the checkpoint, the decoder and the probe; None: the run itself."""
    num_episodes: int | None = None
    """Episodes to learn from, collected where they are missing; None: those of the run."""
    seed: int = 0
    """Seed of the weights and of the order of the data."""


@dataclass(frozen=True, kw_only=True)
class TrainedDecoder:
    """A finished decoder and probe, and how good they are on held-out episodes."""

    run: Path
    """Folder of the run."""
    steps: int
    """Optimiser steps of the decoder."""
    parameters: int
    """Weights of the decoder."""
    psnr: float
    """Mean peak signal-to-noise ratio of its pictures, in dB."""
    state_error: list[float]
    """Mean absolute error of the probe for each number of a state; empty where there are none."""
    training_seconds: float
    """Seconds of the two training loops of this call."""
    wall_seconds: float
    """Seconds of this call, collecting data and measuring included."""


def train_decoder_run(
    source: str,
    config: DecodingConfig,
    *,
    rules: DecoderRules,
    data_root: Path,
    device: str,
    resume: bool = False,
    overwrite: bool = False,
    processes: int | None = None,
    encoder_weights: str | None = None,
) -> TrainedDecoder:
    """Train a decoder of pictures, and a probe where there are states, on the run's own data.

    Args:
        source: run folder, or name of a bundled model with `rules.out`.
        config: the networks and how they are trained.
        rules: where, and on what.
        data_root: where data sets are stored; a missing one is collected.
        device: device to train on.
        resume: go on with the decoder and the probe that are there.
        overwrite: replace them.
        processes: processes that collect a missing data set; None means one for each thread.
        encoder_weights: where the weights of a frozen encoder are here; None: where its training
            found them.
    """
    began = perf_counter()
    tune_process()
    loaded = load(source, device=device, encoder_weights=encoder_weights)
    with run_beside(source, loaded, out=rules.out) as run:
        saved = {
            kind: find_saved(run / folder, what=folder, resume=resume, overwrite=overwrite)
            for kind, folder in FOLDERS.items()
        }
        require_model_in(run, loaded, copied=rules.out is not None)
        store, train, val = split_store(
            loaded, num_episodes=rules.num_episodes, data_root=data_root, processes=processes
        )
        if len(train) == 0:
            raise UserError(f"{store.path} has no training episodes; collect more of them")
        frames = Frames(store, episodes=train, normalizer=loaded.normalizer)
        kinds: list[Kind] = ["pixels"]
        if store.state is not None and config.probe_steps:
            kinds.append("states")
        heads: dict[Kind, HeadState] = {}
        trained_from = perf_counter()
        for kind in kinds:
            state = new_head(loaded.model, frames, kind=kind, config=config, seed=rules.seed)
            record = _record(state, loaded, config, rules=rules)
            place, before = run / FOLDERS[kind], saved[kind]
            if before is not None:
                found = require_head(before, source=place)
                restore_beside(state, before, before=found, like=record, place=place)
            _train(state, loaded, frames, config, record, place=place, seed=rules.seed)
            heads[kind] = state
        seconds = perf_counter() - trained_from
    held_out = Frames(store, episodes=val if len(val) else train, normalizer=loaded.normalizer)
    pictures, model = heads["pixels"].head.eval(), loaded.model
    errors = []
    if "states" in heads:
        probe = heads["states"].head.eval()
        errors = measure_states(probe, model, frames=held_out, count=_HELD_OUT_FRAMES)
    return TrainedDecoder(
        run=run,
        steps=heads["pixels"].step,
        parameters=sum(one.numel() for one in pictures.parameters()),
        psnr=measure_pictures(pictures, model, frames=held_out, count=_HELD_OUT_FRAMES),
        state_error=errors,
        training_seconds=seconds,
        wall_seconds=perf_counter() - began,
    )


def _record(
    state: HeadState, loaded: LoadedModel, config: DecodingConfig, *, rules: DecoderRules
) -> HeadRecord:
    return HeadRecord(
        config={**asdict(config), "seed": rules.seed, "num_episodes": rules.num_episodes},
        shape=json.loads(json.dumps(asdict(state.head.shape))),  # tuples are lists there
        model=fingerprint(loaded.model),
        step=0,
    )


def _train(
    state: HeadState,
    loaded: LoadedModel,
    frames: Frames,
    config: DecodingConfig,
    record: HeadRecord,
    *,
    place: Path,
    seed: int,
) -> None:
    """Train to the end, or to a signal that asks to stop."""
    kind = state.head.shape.kind
    train_beside(
        state,
        record,
        place=place,
        title=f"train-decoder ({FOLDERS[kind]})",
        num_steps=optim_of(config, kind=kind).num_steps,
        train=lambda hooks: train_head(
            state, loaded.model, frames=frames, config=config, seed=seed, hooks=hooks
        ),
    )
