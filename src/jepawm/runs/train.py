"""`jepawm train`: data, model, loop, checkpoints, and the line of figures at the end."""

import json
import logging
import shlex
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from time import perf_counter

import torch

from jepawm.compute import matmul_peak
from jepawm.data.episodes import EpisodeStore
from jepawm.data.windows import Windows
from jepawm.errors import UserError
from jepawm.experiment import (
    Experiment,
    build_model,
    build_normalizer,
    build_windows,
    experiment_from_json,
    experiment_to_json,
)
from jepawm.hub.encoder_weights import require_same_encoder
from jepawm.hub.load import MODEL, PROBE
from jepawm.metrics_log import MetricsLog, TrainingProgress
from jepawm.models.frozen_encoders import FrozenEncoder
from jepawm.models.heads import LinearProbe
from jepawm.runs.collect import find_or_collect
from jepawm.runs.interrupt import StopRequest
from jepawm.runs.record import provenance
from jepawm.training.checkpoint import (
    Checkpoint,
    find_checkpoint,
    load_checkpoint,
    load_weights,
    save_checkpoint,
    stored_weights,
)
from jepawm.training.objective import Learner
from jepawm.training.optim import build_optimizer
from jepawm.training.state import TrainState, restore_training, training_tensors
from jepawm.training.train import LoopHooks, gflop_per_step, train
from jepawm.training.validation import fit_probe

_LOG = logging.getLogger(__name__)
_PROBE_WINDOWS = 1024


def train_run(
    experiment: Experiment,
    *,
    out: Path,
    data_root: Path,
    device: str,
    resume: bool,
    explicit: bool = True,
    processes: int | None = None,
) -> dict[str, object]:
    """Train an experiment into the run folder `out`; returns figures of the run.

    Args:
        experiment: the configuration.
        out: run folder; it must not hold another run unless `resume`.
        data_root: where data sets lie; a missing one is collected.
        device: device to train on.
        resume: go on from the last checkpoint in `out`, from step 0 where there is none yet.
        explicit: whether the user set fields; if not, a resumed run keeps its own configuration.
        processes: processes that collect a missing data set; None means one for each thread.

    Raises:
        UserError: if the folder is taken, files are damaged, or the loss is not finite.
    """
    began = perf_counter()
    torch.set_flush_denormal(True)
    experiment = _open_run(experiment, out, resume=resume, explicit=explicit)
    _write_experiment(experiment, out)  # first: a run killed while collecting can be resumed
    store = find_or_collect(
        experiment.env, experiment.data, data_root=data_root, processes=processes
    )
    train_windows, val_windows = build_windows(experiment, store)
    optim = experiment.optim.for_windows(len(train_windows))
    experiment = replace(experiment, optim=optim)
    state = _build_state(experiment, store, torch.device(device))
    if find_checkpoint(out / "checkpoint") is not None:
        _restore(state, out)
    else:
        _save(state, experiment, store, out, probe=None)
    target = torch.device(device)
    with ExitStack() as stack:
        log = stack.enter_context(MetricsLog(out / "metrics.jsonl"))
        log.truncate_after(state.step)
        title = f"train {experiment.env}"
        steps = experiment.optim.num_steps
        progress = stack.enter_context(TrainingProgress(steps, title, start=state.step))
        stop = stack.enter_context(
            StopRequest(_resume_command(experiment, out, data_root=data_root, device=device))
        )

        def write(step: int, metrics: Mapping[str, float]) -> None:
            log.append(step, metrics, seconds=state.seconds)
            progress.update(step, metrics)

        def save() -> None:
            _save(state, experiment, store, out, probe=None)

        train(
            state,
            train_windows,
            val_windows=val_windows,
            optim=experiment.optim,
            loop=experiment.loop,
            hooks=LoopHooks(log=write, save=save, stop=stop),
            seed=experiment.seed,
            device=target,
        )
    return _finish(state, experiment, store, (train_windows, val_windows), out, began)


def _open_run(experiment: Experiment, out: Path, *, resume: bool, explicit: bool) -> Experiment:
    """Check the run folder and return the configuration to train."""
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is no folder; choose another --out")
    record = out / "experiment.json"
    names = {path.name for path in out.iterdir()} if out.exists() else set()
    untrained = names <= {record.name, _aside(record).name}
    if untrained and (explicit or not resume or record.name not in names):
        if resume:
            _LOG.info("%s holds nothing to resume yet; training starts at step 0", out)
        return experiment
    if not resume:
        raise UserError(
            f"{out} already holds files; choose another --out, or --resume to go on with its run"
        )
    try:
        saved = json.loads(record.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise UserError(
            f"cannot read {record} ({error}); {out} is no run to resume, choose another --out"
        ) from error
    data = saved.get("experiment") if isinstance(saved, dict) else None
    before = experiment_from_json(data, source=str(record))
    if explicit and experiment != before:
        changed = ", ".join(
            _differences(experiment_to_json(before), experiment_to_json(experiment))
        )
        raise UserError(
            f"{out} was trained with another configuration (differs in {changed}); resume it "
            "without these options, or train into another --out"
        )
    return before


def _aside(path: Path) -> Path:
    return path.with_name(path.name + ".partial")


def _resume_command(experiment: Experiment, out: Path, *, data_root: Path, device: str) -> str:
    folders = ["--out", str(out), "--data-root", str(data_root)]
    return shlex.join(
        ["jepawm", "train", experiment.name, *folders, "--device", device, "--resume"]
    )


def _differences(before: object, after: object, path: str = "") -> list[str]:
    if isinstance(before, dict) and isinstance(after, dict):
        return [
            line
            for key in before.keys() | after.keys()
            for line in _differences(before.get(key), after.get(key), f"{path}.{key}".strip("."))
        ]
    return [] if before == after else [path]


def _build_state(experiment: Experiment, store: EpisodeStore, device: torch.device) -> TrainState:
    proprio_dim = 0 if store.proprio is None else store.proprio.shape[1]
    model = build_model(experiment, action_dim=store.actions.shape[1], proprio_dim=proprio_dim)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(experiment.seed + 1)
        learner = Learner(model, experiment.loss).to(device)
    return TrainState(learner=learner, optimizer=build_optimizer(learner, experiment.optim))


def _restore(state: TrainState, out: Path) -> None:
    checkpoint = load_checkpoint(out / "checkpoint", with_training=True)
    weights = {name: x for name, x in checkpoint.tensors.items() if not name.startswith(PROBE)}
    module = torch.nn.ModuleDict({"model": state.learner.model})
    encoder = state.learner.model.encoder
    if isinstance(encoder, FrozenEncoder):
        saved = checkpoint.config.get("encoder")
        require_same_encoder(encoder, saved, source=str(out / "checkpoint"))
    load_weights(module, weights, source=str(out / "checkpoint"))
    assert checkpoint.training is not None
    restore_training(state, checkpoint.training)
    _LOG.info("resumed %s at step %d", out, state.step)


def _save(
    state: TrainState,
    experiment: Experiment,
    store: EpisodeStore,
    out: Path,
    *,
    probe: LinearProbe | None,
) -> None:
    model = state.learner.model
    tensors = {MODEL + k: v for k, v in stored_weights(model).items()}
    if probe is not None:
        tensors |= {PROBE + k: v for k, v in probe.state_dict().items()}
    proprio_dim = 0 if store.proprio is None else store.proprio.shape[1]
    normalizer = build_normalizer(experiment, store).to_json()
    config = {
        "experiment": experiment_to_json(experiment),
        "dims": {"action_dim": store.actions.shape[1], "proprio_dim": proprio_dim},
        "normalizer": {k: list(v) if v else None for k, v in normalizer.items()},
        "step": state.step,
        **provenance(),
    }
    if isinstance(model.encoder, FrozenEncoder):
        config["encoder"] = asdict(model.encoder.identity)
    checkpoint = Checkpoint(config=config, tensors=tensors, training=training_tensors(state))
    save_checkpoint(out / "checkpoint", checkpoint)


def _write_experiment(experiment: Experiment, out: Path) -> None:
    record = {
        "recipe": experiment.name,
        "seed": experiment.seed,
        **provenance(),
        "experiment": experiment_to_json(experiment),
    }
    try:
        out.mkdir(parents=True, exist_ok=True)
        aside = _aside(out / "experiment.json")
        aside.write_text(json.dumps(record, indent=1), encoding="utf-8")
        aside.replace(out / "experiment.json")
    except OSError as error:
        raise UserError(f"cannot write into {out} ({error}); choose another --out") from error


def _finish(
    state: TrainState,
    experiment: Experiment,
    store: EpisodeStore,
    windows: tuple[Windows, Windows],
    out: Path,
    began: float,
) -> dict[str, object]:
    """Fit the probe, write the final checkpoint and measure what training cost."""
    learner = state.learner
    device = next(learner.parameters()).device
    result: dict[str, object] = {"run": out, "steps": state.step}
    if store.state is not None:
        probe, error = fit_probe(
            learner.model,
            windows[0],
            val_windows=windows[1],
            num_windows=_PROBE_WINDOWS,
            device=device,
        )
        result["probe_error"] = error
        _save(state, experiment, store, out, probe=probe)
    size = min(experiment.optim.batch_size, len(windows[0]))
    batch = windows[0].batch(torch.arange(size)).to(device)
    gflop = gflop_per_step(learner, batch)
    rate = gflop * state.step / state.seconds
    peak = matmul_peak(device)
    result |= {
        "gflop_per_step": gflop,
        "gflops_per_second": rate,
        "matmul_peak_gflops": peak,
        "fraction_of_peak": rate / peak,
        "training_seconds": state.seconds,
        "wall_seconds": perf_counter() - began,
    }
    return result
