"""What is trained for a finished world model and kept beside its checkpoint: proposers, decoders, probes."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from time import perf_counter

import numpy as np
from jaxtyping import Int64

from jepawm.checkpoint import Checkpoint, find_checkpoint, load_checkpoint, save_checkpoint
from jepawm.data.episodes import EpisodeStore
from jepawm.data.windows import Windows, hold_out, split_episodes
from jepawm.errors import UserError
from jepawm.files import taken, write_together
from jepawm.hub.load import LoadedModel, load
from jepawm.hub.proposers import fingerprint
from jepawm.metrics_log import MetricsLog
from jepawm.models.weight_files import load_weights
from jepawm.progress import TrainingProgress
from jepawm.records import HeadRecord, ProposerRecord, RewardRecord, TextRecord
from jepawm.runs.datasets import find_or_collect
from jepawm.runs.run_folder import TRAINING, provenance, training_files
from jepawm.runs.trackers import Trackers
from jepawm.runs.train import StopRequest
from jepawm.training.parts import PartHooks, PartState
from jepawm.training.train import encode_frames

_MOST_BYTES = 2**30
"""Tokens of all frames up to which they are computed once and kept."""
_TAKEN = ("checkpoint", "checkpoints", "best", "proposer", "decoder", "probe", "", ".", "..")
"""Names of folders of a run that are something else."""


PartRecord = HeadRecord | ProposerRecord | RewardRecord | TextRecord
"""What checkpoints say of parts beside a model."""
_COMPARED = ("model", "shape", "source", "config")
"""Fields of such a record that a resumed training may not change."""


@contextmanager
def run_beside(source: str, loaded: LoadedModel, *, out: Path | None) -> Iterator[Path]:
    """Take the run of a model, or the folder `out`, to train something beside its checkpoint."""
    run = out or loaded.run
    if out is None and not Path(source).is_dir():
        raise UserError(f"{source} is no folder of yours; say where the copy goes by --out")
    with taken(run, by=TRAINING):
        yield run


def require_model_in(run: Path, loaded: LoadedModel, *, copied: bool) -> None:
    """Let a run hold this model: copied there if it should be, refused if another one is there."""
    if copied and find_checkpoint(run / "checkpoint") is None:
        _copy_model(loaded, run)
    if fingerprint(load(run).model) != fingerprint(loaded.model):
        raise UserError(f"{run} holds another model; choose another --out")


def require_own_folder(name: str) -> None:
    """Refuse names of folders of a run that are something else."""
    if Path(name).name != name or name in _TAKEN:
        raise UserError(f"--folder {name}; give a name of its own, without a path")


def encoded_once(loaded: LoadedModel, windows: Windows) -> Windows:
    """Return windows whose frames are encoded once, where the tokens fit into memory."""
    encoder = loaded.model.encoder
    size = 4 * encoder.num_tokens * encoder.dim * windows.store.manifest.num_frames
    if size > _MOST_BYTES:
        return windows
    device = loaded.normalizer.action_mean.device
    return windows.with_tokens(encode_frames(loaded.model, windows.store, device=device))


def find_saved(place: Path, *, what: str, resume: bool, overwrite: bool) -> Checkpoint | None:
    """Return what to go on with; None to begin anew."""
    if find_checkpoint(place) is None or overwrite:
        return None
    if not resume:
        raise UserError(
            f"{place} holds a {what}; go on with it by --resume, or replace it by --overwrite"
        )
    return load_checkpoint(place, with_training=True)


def split_store(
    loaded: LoadedModel, *, num_episodes: int | None, data_root: Path, processes: int | None
) -> tuple[EpisodeStore, Int64[np.ndarray, " n"], Int64[np.ndarray, " m"]]:
    """Return the run's store, collected where it is missing, and its training and validation episodes."""
    experiment = loaded.experiment
    data = experiment.data
    if num_episodes is not None:
        if data.store is not None:
            raise UserError(
                f"--num-episodes {num_episodes} collects data, and {loaded.name} was trained "
                "on recordings; leave it out"
            )
        data = replace(data, num_episodes=num_episodes)
    store = find_or_collect(experiment.env, data, data_root=data_root, processes=processes)
    seen, _ = hold_out(len(store), num_held_out=data.held_out)
    train, val = split_episodes(len(seen), train_fraction=data.train_fraction, seed=data.split_seed)
    return store, train, val


def _copy_model(loaded: LoadedModel, run: Path) -> None:
    """Copy the checkpoint of a model into a new run folder, with what tells how it was trained."""
    folder = loaded.run / "checkpoint"
    place = folder if find_checkpoint(folder) is not None else loaded.run
    if find_checkpoint(place) is None:
        raise UserError(
            f"{loaded.name} is a released model; turn it into a run first by `jepawm import`"
        )
    save_checkpoint(run / "checkpoint", replace(load_checkpoint(place), training=None))
    copies = training_files(loaded.run, run, overwrite=False)
    if copies:
        write_together(copies)


def require_same_training(
    before: object, like: object, *, fields: Sequence[str], place: Path
) -> None:
    """Refuse to go on with a part whose record differs in some field from what would be trained now."""
    for name in fields:
        if getattr(before, name) != getattr(like, name):
            raise UserError(
                f"{place} was trained with another {name} ({getattr(before, name)} instead of "
                f"{getattr(like, name)}); give the same options, or --overwrite"
            )


def train_beside(
    state: PartState,
    record: PartRecord,
    *,
    place: Path,
    title: str,
    num_steps: int,
    train: Callable[[PartHooks], None],
    curves: Trackers | None = None,
) -> dict[str, float]:
    """Train a part to the end, or to a signal that asks to stop, and save it; returns the last metrics.

    Args:
        state: the part, where its training goes on.
        record: what its checkpoint says of it.
        place: its folder; metrics go beside it, to a file of the same name.
        title: how the progress calls it.
        num_steps: optimiser steps of the whole training.
        train: trains it, with these hooks.
        curves: where metrics go beside that file.
    """
    last: dict[str, float] = {}
    began = perf_counter()

    def save() -> None:
        saved = replace(record, step=state.step, provenance=provenance())
        weights, training = state.module.state_dict(), state.tensors()
        save_checkpoint(place, Checkpoint(record=saved, tensors=weights, training=training))

    def log(step: int, metrics: Mapping[str, float]) -> None:
        last.update(metrics)
        seconds = perf_counter() - began
        rows.append(step, metrics, seconds=seconds)
        if curves is not None:
            curves.append(step, metrics, seconds=seconds)
        bar.update(step, metrics)

    with ExitStack() as stack:
        stop = stack.enter_context(StopRequest("the same command with --resume"))
        rows = stack.enter_context(MetricsLog(place.with_name(f"{place.name}.jsonl")))
        rows.truncate_after(state.step)
        bar = stack.enter_context(TrainingProgress(num_steps, title, start=state.step))
        train(PartHooks(log=log, save=save, stop=stop))
        save()
    return last


def restore_beside(
    state: PartState,
    saved: Checkpoint,
    *,
    before: PartRecord,
    like: PartRecord,
    place: Path,
) -> None:
    """Put back what was saved, if it was trained in the same way for the same model."""
    fields = [name for name in _COMPARED if hasattr(like, name)]
    require_same_training(before, like, fields=fields, place=place)
    load_weights(state.module, saved.tensors, source=str(place))
    assert saved.training is not None
    state.restore(saved.training)
