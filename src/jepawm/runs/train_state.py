"""Build the state of a training run, from the start or from its checkpoint, and save it."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from shutil import rmtree
from typing import cast

import torch
from torch import Tensor, nn

from jepawm.build import build_model, build_normalizer
from jepawm.checkpoint import (
    Checkpoint,
    find_checkpoint,
    load_checkpoint,
    read_record,
    save_checkpoint,
)
from jepawm.commands import Commands, Form
from jepawm.data.episodes import EpisodeStore
from jepawm.errors import UserError
from jepawm.experiment import Experiment, experiment_from_json, experiment_to_json
from jepawm.hub.load import BEST, MODEL, PROBE, load
from jepawm.models.encoders import ImageEncoder
from jepawm.models.frozen.encoder import FrozenEncoder
from jepawm.models.frozen.small_vit import start_encoder_from
from jepawm.models.frozen.weights import require_same_encoder
from jepawm.models.heads import LinearProbe
from jepawm.models.views import ViewsEncoder
from jepawm.models.weight_files import load_weights, stored_weights
from jepawm.models.world_model import JEPAWorldModel
from jepawm.processes import gather_shards, is_first, together
from jepawm.records import ModelRecord, TrainedOn, require_model
from jepawm.runs.run_folder import KEPT, differing_fields, provenance
from jepawm.training.accumulation import require_batch_free
from jepawm.training.average import WeightAverage
from jepawm.training.devices import Devices
from jepawm.training.losses import Learner
from jepawm.training.optim import build_optimizer
from jepawm.training.state import (
    TrainState,
    restore_heads,
    restore_training,
    training_tensors,
    weights_to_use,
)
from jepawm.training.train import LoopConfig

_LOG = logging.getLogger(__name__)
_PLACES = {"data.store", "data.feature_cache", "encoder.weights", "init_from"}
_OF_WIDTHS = ("predictor.action_encoder.", "proprio_encoder.")
"""Layers that read actions and proprioception: for another robot they start anew."""


def require_same_data(store: EpisodeStore, *, out: Path) -> None:
    """Refuse to go on with a run on other data than its checkpoint was trained on."""
    if find_checkpoint(out / "checkpoint") is None:
        return
    data = read_record(out / "checkpoint").data
    if data is not None and data.sha256 != store.sha256:
        raise UserError(
            f"{out} was trained on other data than {store.path} holds now; put the store back that "
            "it began with, or train into another --out"
        )


def require_same_experiment(experiment: Experiment, *, out: Path) -> None:
    """Refuse to go on with a run under another configuration than its checkpoint was trained with.

    Names of places may differ: what lies there is compared by its hash.
    """
    if find_checkpoint(out / "checkpoint") is None:
        return
    path = out / "checkpoint"
    before = experiment_from_json(read_record(path).experiment, source=str(path / "config.json"))
    changed = ", ".join(sorted(set(differing_fields(before, experiment)) - _PLACES))
    if changed:
        raise UserError(
            f"{out} was trained with another configuration than its experiment.json says now "
            f"(differs in {changed}); put the file back, or train into another --out"
        )


def build_state(
    experiment: Experiment, store: EpisodeStore, *, out: Path, devices: Devices
) -> TrainState:
    """Build the state at the run's checkpoint, or at step 0 where there is none.

    Every process reads the whole checkpoint, whatever the number of processes that wrote it.
    """
    with together():
        saved = None
        if find_checkpoint(out / "checkpoint") is not None:
            saved = load_checkpoint(out / "checkpoint", with_training=True)
        learner = _build_learner(experiment, store, at_start=saved is None)
        if saved is not None:
            _load_learner(learner, saved, source=str(out / "checkpoint"))
        elif experiment.init_from is not None:
            forms = build_normalizer(experiment, store).commands
            start_model_from(learner.model, experiment.init_from, commands=forms)
    if not experiment.optim.encoder_learns(0):  # nor do the heads that shape it
        for part in (cast(nn.Module, learner.model.encoder), learner.inverse_dynamics):
            if part is not None:
                part.requires_grad_(requires_grad=False)
    compute = experiment.compute
    if compute.accumulate > 1 and compute.accumulate_statistics == "batch":
        require_batch_free(learner)
    module = devices.wrap(learner)
    optimizer, decay = build_optimizer(learner, experiment.optim), experiment.optim.ema_decay
    average = None if decay is None else WeightAverage(learner)
    state = TrainState(learner=learner, module=module, optimizer=optimizer, average=average)
    if saved is not None and saved.training is not None:
        with together():
            restore_training(state, saved.training)
        _LOG.info("resumed %s at step %d", out, state.step)
    if decay is not None:
        _LOG.info(
            "validation, checkpoints and what is loaded from them have the average of the weights "
            "(optim.ema_decay = %g)",
            decay,
        )
    return state


def save_state(
    state: TrainState,
    experiment: Experiment,
    *,
    store: EpisodeStore,
    out: Path,
    probe: LinearProbe | None = None,
) -> None:
    """Write a checkpoint of whole tensors; the first process writes, all take part."""
    write = prepare_save(state, experiment, store=store, out=out, probe=probe)
    with together():
        if write is not None:
            write()


def prepare_save(
    state: TrainState,
    experiment: Experiment,
    *,
    store: EpisodeStore,
    out: Path,
    probe: LinearProbe | None = None,
) -> Callable[[], None] | None:
    """Copy the state of this moment; returns what writes it, in the first process alone."""
    tensors = gather_shards((MODEL + k, v) for k, v in weights_to_use(state).items())
    training = gather_shards(training_tensors(state).items())
    if probe is not None:
        tensors |= {PROBE + k: v for k, v in probe.state_dict().items()}
    if not is_first():
        return None
    record = _record(state, experiment, store)
    checkpoint = Checkpoint(record=record, tensors=_copied(tensors), training=_copied(training))
    return partial(_write, checkpoint, out, loop=experiment.loop)


def prepare_best(
    state: TrainState, experiment: Experiment, *, store: EpisodeStore, out: Path
) -> Callable[[], None] | None:
    """Copy the weights of this moment; returns what writes them as the run's best, as above."""
    tensors = gather_shards((MODEL + k, v) for k, v in weights_to_use(state).items())
    if not is_first():
        return None
    checkpoint = Checkpoint(record=_record(state, experiment, store), tensors=_copied(tensors))
    return partial(save_checkpoint, out / BEST, checkpoint)


def _record(state: TrainState, experiment: Experiment, store: EpisodeStore) -> ModelRecord:
    """Return what a checkpoint says of the model of this moment."""
    proprio_dim = 0 if store.proprio is None else store.proprio.shape[1]
    encoder = state.learner.model.encoder
    return ModelRecord(
        experiment=experiment_to_json(experiment),
        action_dim=store.actions.shape[1],
        proprio_dim=proprio_dim,
        normalizer=build_normalizer(experiment, store),
        step=state.step,
        provenance=provenance(),
        data=_trained_on(store),
        encoder=asdict(encoder.identity) if isinstance(encoder, FrozenEncoder) else None,
    )


def _write(checkpoint: Checkpoint, out: Path, *, loop: LoopConfig) -> None:
    """Write the run's checkpoint, and the one that stays where this step is to be kept."""
    step = require_model(checkpoint.record, source=out).step
    if loop.keep_every is not None and step and step % loop.keep_every == 0:
        kept = out / KEPT / f"step-{step:07d}"
        save_checkpoint(kept, replace(checkpoint, training=None))
        if loop.keep_last is not None:
            steps = [folder for folder in kept.parent.glob("step-*") if folder.name[5:].isdigit()]
            for old in sorted(steps)[: -loop.keep_last]:
                rmtree(old)
    save_checkpoint(out / "checkpoint", checkpoint)


def _copied(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copy tensors that the next step would change: those of a CPU are the weights themselves."""
    return {name: value.clone() for name, value in tensors.items()}


def _trained_on(store: EpisodeStore) -> TrainedOn:
    """Return which data a model learns from, and what an import did to its pictures."""
    manifest = store.manifest
    fit = manifest.settings.get("fit")
    return TrainedOn(
        sha256=store.sha256,
        image_size=manifest.image_size,
        camera=",".join(store.cameras) or (manifest.source and manifest.source.camera),
        fit=fit if isinstance(fit, str) else None,
        fps=None if manifest.fps is None else float(manifest.fps),
    )


def start_model_from(
    model: JEPAWorldModel, source: str, *, commands: Commands | None = None
) -> None:
    """Give a new model the weights of another one of the same architecture.

    Layers that read actions or proprioception of another width, or actions in another form than
    `commands` says, keep their random weights, and the log names them.
    """
    loaded = load(source)
    other = loaded.model
    if isinstance(model.encoder, FrozenEncoder):
        known = asdict(other.encoder.identity) if isinstance(other.encoder, FrozenEncoder) else None
        require_same_encoder(model.encoder, known, source=source)
    own, weights = stored_weights(model), stored_weights(other)
    same_form = _forms(commands) == _forms(loaded.normalizer.commands)
    new = [
        name
        for name in own.keys() & weights.keys()
        if (name.startswith(_OF_WIDTHS) and own[name].shape != weights[name].shape)
        or (name.startswith(_OF_WIDTHS[0]) and not same_form)
    ]
    kept = {name: own[name] for name in new}
    load_weights(model, {**weights, **kept}, source=source)
    if new:
        _LOG.warning(
            "%s has other widths or forms of actions or proprioception; these layers start anew: %s",
            source,
            ", ".join(sorted(new)),
        )


def _forms(commands: Commands | None) -> tuple[Form, ...] | None:
    """Return the forms of actions; None where all are as recorded."""
    return None if commands is None or commands.is_absolute else commands.forms


def _build_learner(experiment: Experiment, store: EpisodeStore, *, at_start: bool) -> Learner:
    proprio_dim = 0 if store.proprio is None else store.proprio.shape[1]
    model = build_model(experiment, action_dim=store.actions.shape[1], proprio_dim=proprio_dim)
    encoder = model.encoder
    for one in encoder.encoders if isinstance(encoder, ViewsEncoder) else [encoder]:
        if at_start and isinstance(one, ImageEncoder) and one.config.init is not None:
            start_encoder_from(one, one.config.init)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(experiment.seed + 1)
        return Learner(model, experiment.loss)


def _load_learner(learner: Learner, saved: Checkpoint, *, source: str) -> None:
    weights = {name: x for name, x in saved.tensors.items() if not name.startswith(PROBE)}
    encoder = learner.model.encoder
    if isinstance(encoder, FrozenEncoder):
        record = require_model(saved.record, source=source)
        require_same_encoder(encoder, record.encoder, source=source)
    load_weights(torch.nn.ModuleDict({"model": learner.model}), weights, source=source)
    assert saved.training is not None
    restore_heads(learner, saved.training)
