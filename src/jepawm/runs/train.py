"""`jepawm train`: data, model, loop, checkpoints, an orderly stop, and the figures at the end."""

import gc
import logging
import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from time import perf_counter
from types import FrameType, TracebackType
from typing import Any

import torch

from jepawm.build import build_windows
from jepawm.checkpoint import find_checkpoint, read_record
from jepawm.compute import matmul_peak
from jepawm.data.episodes import EpisodeStore
from jepawm.data.windows import Windows
from jepawm.engine.process import tune_process
from jepawm.errors import UserError
from jepawm.experiment import Experiment, experiment_to_json
from jepawm.hub.load import BEST
from jepawm.launch import heeded_signals
from jepawm.metrics_log import MetricsLog
from jepawm.processes import any_process, count_processes, from_first, is_first, together
from jepawm.progress import TrainingProgress
from jepawm.runs.checkpoint_writer import CheckpointWriter
from jepawm.runs.datasets import find_or_collect, find_or_compute_features
from jepawm.runs.run_folder import (
    TRAINING,
    first_takes,
    open_run,
    resume_command,
    write_experiment,
)
from jepawm.runs.trackers import Logged, TrackerName, Trackers, open_trackers, saved_step
from jepawm.runs.train_state import (
    build_state,
    prepare_best,
    prepare_save,
    require_same_data,
    require_same_experiment,
    save_state,
)
from jepawm.training.cost import training_gflop
from jepawm.training.devices import Devices
from jepawm.training.finite import NotFiniteError
from jepawm.training.state import TrainState, with_weights_to_use
from jepawm.training.train import LoopHooks, train
from jepawm.training.validation import fit_probe

_LOG = logging.getLogger(__name__)
LogFunction = Callable[[int, Mapping[str, float]], None]
_PROBE_WINDOWS = 1024


@dataclass(frozen=True, kw_only=True)
class TrainedRun:
    """A finished training run and what it cost."""

    run: Path
    """Run folder."""
    steps: int
    """Optimiser steps of the whole run."""
    probe_error: float | None = None
    """Error of the linear probe of the state; None where the data has no state."""
    processes: int
    """Processes that trained."""
    gflop_per_step: float
    """Operations of one step, of all processes."""
    gflops_per_second: float
    """Operations a second while training, of all processes."""
    matmul_peak_gflops: float
    """Operations a second that large matrix products reach here, of all processes."""
    fraction_of_peak: float
    """Operations a second while training as a fraction of that peak."""
    training_seconds: float
    """Seconds of the training loop, those before a resume included."""
    best_step: int | None = None
    """Step of the checkpoint in `best/`; None where `loop.keep_best` keeps none."""
    waiting_fraction: float = 0.0
    """Part of the loop's time in this call in which a step waited for its batch; without workers
    that is the time of reading it."""
    wall_seconds: float
    """Seconds of this call, collecting data and measuring included."""


def train_run(
    experiment: Experiment,
    *,
    out: Path,
    data_root: Path,
    device: str,
    resume: bool,
    explicit: bool = True,
    processes: int | None = None,
    trust: bool = False,
    trackers: Sequence[TrackerName] = (),
) -> TrainedRun:
    """Train an experiment into the run folder `out`; returns figures of the run.

    Where a launcher started several processes, each calls this and the first one writes.

    Args:
        experiment: the configuration.
        out: run folder; it must not hold another run unless `resume`.
        data_root: where data sets are stored; a missing one is collected.
        device: kind of device to train on.
        resume: continue from the last checkpoint in `out`, from step 0 where there is none yet.
        explicit: whether the user set fields; if not, a resumed run keeps its own configuration.
        processes: processes that collect a missing data set; None means one for each thread.
        trust: import modules of other people's parts that only the run to resume names.
        trackers: where rows of metrics go beside `metrics.jsonl`.
    """
    began = perf_counter()
    tune_process()
    opened = partial(open_run, experiment, out, resume=resume, explicit=explicit, trust=trust)
    experiment = opened()
    used = experiment.loss.proprio and experiment.optim.encoder_steps is None
    devices = Devices(experiment.compute, device=device, every_weight_used=used)

    def begin() -> None:
        if opened() != experiment:
            raise UserError(f"{out} changed while this training started; start it again")
        write_experiment(experiment, out)  # a run killed while collecting can be resumed

    with first_takes(out, by=TRAINING), ExitStack() as stack:
        from_first(begin)
        with together():
            names = trackers if is_first() else ()
            logged = Logged(
                file=out / "metrics.jsonl",
                step=saved_step(out / "checkpoint") if names else 0,
                config=experiment_to_json(experiment),
            )
            curves = stack.enter_context(open_trackers(names, logged))
        with together():
            store = find_or_collect(
                experiment.env, experiment.data, data_root=data_root, processes=processes
            )
            require_same_data(store, out=out)
        features = find_or_compute_features(
            experiment, store, data_root=data_root, device=devices.device
        )
        with together():
            windows = build_windows(experiment, store, features=features)
        optim = experiment.optim.for_windows(len(windows[0]))
        experiment = replace(experiment, optim=optim)
        with together():
            require_same_experiment(experiment, out=out)
        command = resume_command(
            experiment, out, data_root=data_root, device=device, trackers=trackers
        )
        state = _train(experiment, store, windows, out, devices, command=command, curves=curves)
        done = _finish(state, experiment, store, windows, out, devices, began=began)
        seconds = state.seconds - state.seconds_before
        return replace(done, waiting_fraction=state.seconds_waited / seconds if seconds else 0.0)


def _train(
    experiment: Experiment,
    store: EpisodeStore,
    windows: tuple[Windows, Windows | None],
    out: Path,
    devices: Devices,
    *,
    command: str,
    curves: Trackers,
) -> TrainState:
    """Train to the end, or to a signal that asks to stop; `command` goes on then.

    From the run's checkpoint, and from there again without the batch of a step that was not finite.
    """
    left_out: frozenset[int] = frozenset()
    with StopRequest(command) as stop, CheckpointWriter() as writer:
        while True:
            state = build_state(experiment, store, out=out, devices=devices)
            state.left_out |= left_out
            try:
                with _log(experiment, out, state, curves) as log:
                    hooks = _hooks(state, experiment, store, out, log, stop=stop, writer=writer)
                    _train_from(state, experiment, windows, out, devices, hooks=hooks)
            except NotFiniteError as error:
                left_out = _leave_out(error, state.left_out, experiment.loop.recoveries)
            else:
                return state
            state = log = hooks = None  # before memory is taken for the next
            gc.collect()
            writer.wait()


def _hooks(
    state: TrainState,
    experiment: Experiment,
    store: EpisodeStore,
    out: Path,
    log: LogFunction,
    *,
    stop: "StopRequest",
    writer: CheckpointWriter,
) -> LoopHooks:
    """Return what the loop calls to log, to save this state, and to ask whether to stop."""

    def save() -> None:
        writer.write(prepare_save(state, experiment, store=store, out=out))

    def save_best() -> None:
        writer.write(prepare_best(state, experiment, store=store, out=out))

    return LoopHooks(log=log, save=save, save_best=save_best, stop=stop)


def _train_from(
    state: TrainState,
    experiment: Experiment,
    windows: tuple[Windows, Windows | None],
    out: Path,
    devices: Devices,
    *,
    hooks: LoopHooks,
) -> None:
    """Train from wherever the state is; a new run has a checkpoint before its first step."""
    if from_first(lambda: find_checkpoint(out / "checkpoint")) is None:
        hooks.save()
    train(
        state,
        windows[0],
        val_windows=windows[1],
        optim=experiment.optim,
        loop=experiment.loop,
        hooks=hooks,
        seed=experiment.seed,
        devices=devices,
        augmentation=experiment.data.augmentation,
    )


def _leave_out(error: NotFiniteError, left_out: frozenset[int], most: int) -> frozenset[int]:
    """Return the steps that learn nothing from now on; raises the error where they are too many."""
    if len(left_out) >= most:
        if not most:
            raise error
        raise UserError(
            f"{error}; loop.recoveries = {most} batches are left out already"
        ) from error
    _LOG.warning(
        "%s: back to the last checkpoint, and on without the batch of this step (%d of "
        "loop.recoveries = %d)",
        error.what,
        len(left_out) + 1,
        most,
    )
    return left_out | {error.step - 1}


@contextmanager
def _log(
    experiment: Experiment, out: Path, state: TrainState, curves: Trackers
) -> Iterator[LogFunction]:
    """Open the log and the progress bar in the first process."""
    rows, bar = None, None
    with ExitStack() as stack:
        with together():
            if is_first():
                rows = stack.enter_context(MetricsLog(out / "metrics.jsonl"))
                rows.truncate_after(state.step)
                total, title = experiment.optim.num_steps, f"train {experiment.env}"
                bar = stack.enter_context(TrainingProgress(total, title, start=state.step))

        def write(step: int, metrics: Mapping[str, float]) -> None:
            with together():
                if rows is not None and bar is not None:
                    rows.append(step, metrics, seconds=state.seconds)
                    curves.append(step, metrics, seconds=state.seconds)
                    bar.update(step, metrics)

        yield write


def _finish(
    state: TrainState,
    experiment: Experiment,
    store: EpisodeStore,
    windows: tuple[Windows, Windows | None],
    out: Path,
    devices: Devices,
    *,
    began: float,
) -> TrainedRun:
    """Fit the probe, write the final checkpoint and measure what training cost."""
    error = None
    if store.state is not None and windows[1] is not None:
        with with_weights_to_use(state):
            probe, error = fit_probe(
                state.learner,
                windows[0],
                val_windows=windows[1],
                num_windows=_PROBE_WINDOWS,
                device=devices.device,
            )
        save_state(state, experiment, store=store, out=out, probe=probe)
    parts = devices.parts(torch.arange(min(experiment.optim.batch_size, len(windows[0]))))
    batch = windows[0].batch(parts[0]).to(devices.device)
    gflop = training_gflop(state.learner, batch, optim=experiment.optim, num_steps=state.step) * (
        len(parts) * count_processes()
    )
    rate = gflop / state.seconds
    peak = matmul_peak(devices.device) * count_processes()
    best = None
    if experiment.loop.keep_best is not None and find_checkpoint(out / BEST) is not None:
        best = read_record(out / BEST).step
    return TrainedRun(
        run=out,
        steps=state.step,
        best_step=best,
        probe_error=error,
        processes=count_processes(),
        gflop_per_step=gflop / state.step,
        gflops_per_second=rate,
        matmul_peak_gflops=peak,
        fraction_of_peak=rate / peak,
        training_seconds=state.seconds,
        wall_seconds=perf_counter() - began,
    )


class StopRequest:
    """Note SIGINT, SIGTERM and SIGHUP while active; a second SIGINT interrupts at once.

    All processes of a run stop after the same step. They do not heed a second SIGINT: a launcher
    may hand on what the terminal has sent already. SIGHUP stays ignored where it was, as `nohup`
    asks for.
    """

    def __init__(self, resume_command: str) -> None:
        """Take the command that continues the run."""
        self._resume_command = resume_command
        self._requested = False  # set by the handler alone: a signal may come at any moment
        self._before: dict[int, Any] = {}
        self._terminals: list[int] = []

    def __call__(self) -> bool:
        """Return whether a stop was asked for in any process; all must ask."""
        return any_process(self._requested)

    def __enter__(self) -> "StopRequest":
        """Take over the signals."""
        self._terminals = [stream for stream in (1, 2) if os.isatty(stream)]
        for number in heeded_signals():
            self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Give the signals back; say how to continue if the run was stopped."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if kind is None and self():
            raise UserError(
                f"stopped; a checkpoint is written, continue with: {self._resume_command}"
            )

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if self._requested and number == signal.SIGINT and count_processes() == 1:
            raise KeyboardInterrupt
        for stream in self._terminals:
            if not os.isatty(stream):  # closed: what is still said there would be an error
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
        self._requested = True
