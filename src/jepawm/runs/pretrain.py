"""`jepawm pretrain`: a small vision transformer learns from the frames of a store, without actions."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import cast

import numpy as np
import torch

from jepawm.checkpoint import Checkpoint, find_checkpoint, load_checkpoint, save_checkpoint
from jepawm.data.episodes import EpisodeStore, open_store
from jepawm.engine.process import tune_process
from jepawm.errors import UserError
from jepawm.files import taken
from jepawm.metrics_log import MetricsLog
from jepawm.models.frozen.encoder import FrozenEncoder, SmallViTConfig
from jepawm.models.heads import LinearProbe
from jepawm.progress import TrainingProgress
from jepawm.records import EncoderRecord, JsonValue, TrainedOn
from jepawm.runs.run_folder import TRAINING, provenance
from jepawm.runs.trackers import TRACKERS, Logged, TrackerName, Trackers, open_trackers
from jepawm.runs.train import StopRequest
from jepawm.training.pretraining.pretrain import (
    PretrainHooks,
    PretrainState,
    new_pretraining,
    pretrain,
    pretraining_tensors,
    restore_pretraining,
)
from jepawm.training.pretraining.settings import PretrainConfig, method_name
from jepawm.types import Latent

LOG = "pretrain.jsonl"
"""What a pretraining logs, beside its checkpoint."""
_PROBE_FRAMES, _BATCH = 2048, 64
_GRID = 4


@dataclass(frozen=True, kw_only=True)
class PretrainedEncoder:
    """A finished pretraining."""

    folder: Path
    """Folder that `encoder.weights` and `encoder.init` take."""
    method: str
    """How it learned."""
    parameters: int
    """Weights of the transformer."""
    steps: int
    """Optimiser steps of the whole pretraining."""
    loss: float
    """Loss at the end; NaN if nothing was left to train."""
    probe_error: float | None
    """Error of a linear probe that reads the simulator's state from the tokens of other episodes, in
    units of the state; None where the store has no states."""
    random_probe_error: float | None
    """The same of the transformer with random weights."""
    training_seconds: float
    """Seconds of this call's training loop."""


def pretrain_run(
    path: Path,
    config: PretrainConfig,
    *,
    out: Path,
    device: str,
    resume: bool = False,
    overwrite: bool = False,
    trackers: Sequence[TrackerName] = (),
) -> PretrainedEncoder:
    """Pretrain a transformer on the frames of a store; returns what came of it.

    Args:
        path: the store.
        config: method and settings.
        out: folder for `checkpoint/` and `pretrain.jsonl`.
        device: device to train on.
        resume: go on with the pretraining that is there.
        overwrite: replace the pretraining that is there.
        trackers: where rows of metrics go beside `pretrain.jsonl`.
    """
    tune_process()
    store = open_store(path)
    store.require_one_camera("pretraining")
    with taken(out, by=TRAINING), ExitStack() as stack:
        saved = _find_saved(out, resume=resume, overwrite=overwrite)
        step = 0 if saved is None else cast(EncoderRecord, saved.record).step
        settings = cast(dict[str, JsonValue], asdict(config))
        logged = Logged(file=out / LOG, step=step, config=settings)
        curves = stack.enter_context(open_trackers(trackers, logged))
        state = new_pretraining(config)
        state.method.to(device)
        record = _record(config, store)
        if saved is not None:
            _restore(state, saved, like=record, out=out)
        began = perf_counter()
        last = _train(state, store, config, record, out=out, curves=curves)
        seconds = perf_counter() - began
    vit = {name: getattr(config.vit, name) for name in ("size", "patch_size", "image_size")}
    grid = _GRID if config.vit.side % _GRID == 0 else 1
    errors = [
        probe_error(SmallViTConfig(**vit, grid=grid, weights=weights).build().to(device), store)
        for weights in (str(out), "random:0")
    ]
    return PretrainedEncoder(
        folder=out,
        method=record.method,
        parameters=sum(one.numel() for one in state.method.encoder.parameters()),
        steps=state.step,
        loss=last.get("train/loss", float("nan")),
        probe_error=errors[0],
        random_probe_error=errors[1],
        training_seconds=seconds,
    )


def _record(config: PretrainConfig, store: EpisodeStore) -> EncoderRecord:
    return EncoderRecord(
        method=method_name(config),
        size=config.vit.size,
        patch_size=config.vit.patch_size,
        image_size=config.vit.image_size,
        config=cast(dict[str, JsonValue], asdict(config)),
        step=0,
        data=TrainedOn(sha256=store.sha256, image_size=store.manifest.image_size),
        provenance=provenance(),
    )


def _find_saved(out: Path, *, resume: bool, overwrite: bool) -> Checkpoint | None:
    """Return the pretraining to go on with; None to begin anew."""
    if find_checkpoint(out / "checkpoint") is None:
        strange = (
            sorted(one.name for one in out.iterdir() if not _is_own(one)) if out.exists() else []
        )
        if strange:
            raise UserError(f"{out} holds other files ({strange[0]}); choose another --out")
        return None
    saved = load_checkpoint(out / "checkpoint", with_training=not overwrite)
    if not isinstance(saved.record, EncoderRecord):
        raise UserError(f"{out} holds a model that is no pretrained encoder; choose another --out")
    if overwrite:
        return None
    if not resume:
        raise UserError(
            f"{out} holds a pretrained encoder; go on with it by --resume, or replace it by "
            "--overwrite"
        )
    return saved


def _is_own(path: Path) -> bool:
    """Return whether a file of the folder is one that a killed pretraining may have left."""
    own = (LOG, "checkpoint", ".", TRACKERS, "tensorboard", "wandb")
    return path.name.startswith(own)


def _restore(state: PretrainState, saved: Checkpoint, *, like: EncoderRecord, out: Path) -> None:
    """Put back what was saved, if it was trained in the same way on the same data."""
    before = saved.record
    assert isinstance(before, EncoderRecord)
    for name, mine, theirs in (
        ("settings", like.config, before.config),
        ("method", like.method, before.method),
        ("data", like.data, before.data),
    ):
        if mine != theirs:
            raise UserError(
                f"{out} was pretrained with other {name} ({theirs} instead of {mine}); give the same "
                "options, or --overwrite"
            )
    if saved.training is None:
        raise UserError(f"{out} has no state to go on from; begin anew by --overwrite")
    restore_pretraining(state, saved.training)


def _train(
    state: PretrainState,
    store: EpisodeStore,
    config: PretrainConfig,
    record: EncoderRecord,
    *,
    out: Path,
    curves: Trackers,
) -> dict[str, float]:
    """Train to the end, or to a signal that asks to stop; returns the last metrics."""
    last: dict[str, float] = {}
    began = perf_counter()

    def save() -> None:
        weights = state.method.encoder.state_dict()
        checkpoint = Checkpoint(
            record=replace(record, step=state.step),
            tensors={name: value.cpu() for name, value in weights.items()},
            training={k: v.cpu() for k, v in pretraining_tensors(state).items()},
        )
        save_checkpoint(out / "checkpoint", checkpoint)

    def log(step: int, metrics: Mapping[str, float]) -> None:
        last.update(metrics)
        seconds = perf_counter() - began
        rows.append(step, metrics, seconds=seconds)
        curves.append(step, metrics, seconds=seconds)
        bar.update(step, metrics)

    with ExitStack() as stack:
        stop = stack.enter_context(StopRequest("the same command with --resume"))
        rows = stack.enter_context(MetricsLog(out / LOG))
        rows.truncate_after(state.step)
        total, title = config.optim.num_steps, f"pretrain {record.method}"
        bar = stack.enter_context(TrainingProgress(total, title, start=state.step))
        pretrain(state, store, config=config, hooks=PretrainHooks(log=log, save=save, stop=stop))
        save()
    return last


@torch.no_grad()
def probe_error(encoder: FrozenEncoder, store: EpisodeStore) -> float | None:
    """Return the mean error of a linear probe of the state, fitted on half of the episodes.

    At most 2048 frames are looked at, evenly spaced; None where the store has no states.
    """
    if store.state is None or len(store) < 2:
        return None
    device = next(encoder.parameters()).device
    rows = np.unique(np.linspace(0, store.manifest.num_frames - 1, _PROBE_FRAMES).astype(np.int64))
    episodes = np.searchsorted(store.starts, rows, side="right") - 1
    tokens = torch.cat(
        [
            encoder(torch.from_numpy(store.frames(part)).to(device)).cpu()
            for part in np.array_split(rows, -(-len(rows) // _BATCH))
        ]
    )
    states = torch.from_numpy(np.asarray(store.state[rows])).float()
    fitted = torch.from_numpy(episodes % 2 == 0)
    probe = LinearProbe.fit(Latent(tokens=tokens[fitted]), states[fitted])
    missed = probe(Latent(tokens=tokens[~fitted])) - states[~fitted]
    return missed.norm(dim=-1).mean().item()
