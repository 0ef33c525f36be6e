"""`jepawm train-text`: a map from the latents of a trained world model to texts, beside its checkpoint."""

from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter

from jepawm.captions import SPLITS
from jepawm.data.windows import Windows
from jepawm.engine.process import tune_process
from jepawm.errors import UserError
from jepawm.hub.load import LoadedModel, load
from jepawm.hub.proposers import fingerprint
from jepawm.hub.texts import TEXT, require_text_record
from jepawm.models.text import build_text_encoder
from jepawm.records import TextRecord
from jepawm.runs.beside import (
    encoded_once,
    find_saved,
    require_model_in,
    require_own_folder,
    restore_beside,
    run_beside,
    split_store,
    train_beside,
)
from jepawm.runs.caption_sources import CaptionSource, find_captions
from jepawm.texts import TextConfig
from jepawm.training.texts import (
    Captioned,
    Retrieval,
    TextState,
    new_text_head,
    retrieve,
    train_text_head,
)


@dataclass(frozen=True, kw_only=True)
class TextRules:
    """Where a map to texts is trained, and on what."""

    out: Path | None = None
    """Folder that gets a copy of the checkpoint and the map; None: the run itself."""
    folder: str = TEXT
    """Name of the folder of the map in it."""
    num_episodes: int | None = None
    """Episodes to learn from, collected where they are missing; None: those of the run."""
    horizon: int | None = None
    """Action blocks of a piece of experience; None: the longest of the run's protocols."""
    seed: int = 0
    """Seed of the weights and of the order of the data."""


@dataclass(frozen=True, kw_only=True)
class TrainedText:
    """A finished map to texts and how good it is."""

    run: Path
    """Folder of the run."""
    folder: str
    """Name of the map's folder in it."""
    text: str
    """What turns texts into numbers."""
    kind: str
    """What it learned from: `captions` or `tasks`."""
    sentences: int
    """Different sentences."""
    steps: int
    """Optimiser steps."""
    parameters: int
    """Its weights."""
    retrieval: dict[str, Retrieval]
    """How well it finds sentences of held-out episodes, by split of the sentences."""
    training_seconds: float
    """Seconds of this call's training loop."""


def train_text_run(
    source: str,
    config: TextConfig,
    *,
    rules: TextRules,
    data_root: Path,
    device: str,
    resume: bool = False,
    overwrite: bool = False,
    processes: int | None = None,
    encoder_weights: str | None = None,
) -> TrainedText:
    """Train a map from the latents of a frozen world model to texts, on the run's own data.

    Args:
        source: run folder, or name of a bundled model with `rules.out`.
        config: the network, the text encoder, and how it is trained.
        rules: where, and on what.
        data_root: where data sets are stored; a missing one is collected.
        device: device to train on.
        resume: go on with the map that is there.
        overwrite: replace the map that is there.
        processes: processes that collect a missing data set; None means one for each thread.
        encoder_weights: where the weights of a frozen encoder are here; None: where its training
            found them.
    """
    tune_process()
    require_own_folder(rules.folder)
    encoder = build_text_encoder(config.text, device=device)
    loaded = load(source, device=device, encoder_weights=encoder_weights)
    with run_beside(source, loaded, out=rules.out) as run:
        place = run / rules.folder
        saved = find_saved(place, what="map to texts", resume=resume, overwrite=overwrite)
        require_model_in(run, loaded, copied=rules.out is not None)
        train, val = _windows(loaded, rules, data_root=data_root, processes=processes)
        size = train.store.manifest.image_size
        captions = find_captions(train.store, loaded.experiment.env, image_size=size)
        data = _told(captions, encoded_once(loaded, train))
        state = new_text_head(loaded.model, data, encoder=encoder, config=config, seed=rules.seed)
        record = TextRecord(
            config={
                **asdict(config),
                "seed": rules.seed,
                "num_episodes": rules.num_episodes,
                "horizon": train.num_steps,
            },
            shape=asdict(state.head.shape),
            source=captions.describe(data),
            model=fingerprint(loaded.model),
            step=0,
        )
        if saved is not None:
            before = require_text_record(saved, source=place)
            restore_beside(state, saved, before=before, like=record, place=place)
        began = perf_counter()
        _train(state, loaded, data, config, record, place=place, seed=rules.seed)
        seconds = perf_counter() - began
    held_out = {split: captions.of(val, split) for split in SPLITS}
    return TrainedText(
        run=run,
        folder=rules.folder,
        text=config.text,
        kind=captions.kind,
        sentences=len(data.sentences),
        steps=state.step,
        parameters=sum(one.numel() for one in state.head.parameters()),
        retrieval={
            split: retrieve(state.head, loaded.model, data=known, encoder=encoder)
            for split, known in held_out.items()
            if known is not None
        },
        training_seconds=seconds,
    )


def _windows(
    loaded: LoadedModel, rules: TextRules, *, data_root: Path, processes: int | None
) -> tuple[Windows, Windows]:
    """Cut the run's data into pieces, to learn from and held out."""
    store, train, val = split_store(
        loaded, num_episodes=rules.num_episodes, data_root=data_root, processes=processes
    )
    horizon = rules.horizon or max(one.horizon for one in loaded.experiment.protocols)
    frameskip = loaded.experiment.data.frameskip
    cut = {"num_steps": horizon, "frameskip": frameskip, "normalizer": loaded.normalizer}
    learned = Windows(store, episodes=train, **cut)
    return learned, Windows(store, episodes=val, **cut) if len(val) else learned


def _told(captions: CaptionSource, windows: Windows) -> Captioned:
    """Return pieces with the sentences to learn from; data of which nothing is true are refused."""
    data = captions.of(windows, "seen")
    if data is None or not bool(data.holds.any()):
        raise UserError(
            f"no sentence is true of a frame of {windows.store.path}; collect data in the places that "
            "the captions name"
        )
    return data


def _train(
    state: TextState,
    loaded: LoadedModel,
    data: Captioned,
    config: TextConfig,
    record: TextRecord,
    *,
    place: Path,
    seed: int,
) -> None:
    """Train to the end, or to a signal that asks to stop."""
    train_beside(
        state,
        record,
        place=place,
        title="train-text",
        num_steps=config.num_steps,
        train=lambda hooks: train_text_head(
            state, loaded.model, data=data, config=config, seed=seed, hooks=hooks
        ),
    )
