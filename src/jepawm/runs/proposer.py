"""`jepawm train-proposer`: a proposer for a trained world model, saved beside its checkpoint."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import cast

from jepawm.data.windows import Windows
from jepawm.engine.process import tune_process
from jepawm.envs import RECORDINGS
from jepawm.errors import UserError
from jepawm.evaluation.episodes import join, run_episodes
from jepawm.hub.load import LoadedModel, load, load_experiment, preset_planner
from jepawm.hub.proposers import PROPOSER, fingerprint, require_proposer
from jepawm.planning.proposing import takes_proposals
from jepawm.processes import is_first
from jepawm.proposals import ProposalConfig
from jepawm.protocol import Protocol
from jepawm.records import JsonValue, ProposerRecord
from jepawm.runs.beside import (
    find_saved,
    require_model_in,
    restore_beside,
    run_beside,
    split_store,
    train_beside,
)
from jepawm.runs.evaluate import TaskRules, find_tasks
from jepawm.runs.trackers import (
    Logged,
    TrackerName,
    Trackers,
    open_trackers,
)
from jepawm.training.proposals import (
    ProposerState,
    new_state,
    train_proposer,
)

_BATCH = 16
_PROTOCOL = "paper"
"""What validation tasks are solved under, where the recipe has it; else its first protocol."""


@dataclass(frozen=True, kw_only=True)
class ProposerRules:
    """Where a proposer is trained, and on what."""

    out: Path | None = None
    """Folder that gets a copy of the checkpoint and the proposer; None: the run itself."""
    num_episodes: int | None = None
    """Episodes to learn from, collected where they are missing; None: those of the run."""
    horizon: int | None = None
    """Action blocks of the longest plan; None: the longest of the run's protocols."""
    seed: int = 0
    """Seed of the weights and of the order of the data."""
    num_tasks: int = 96
    """Validation tasks to solve at the end; 0: none."""


@dataclass(frozen=True, kw_only=True)
class TrainedProposer:
    """A finished proposer and how good it is."""

    run: Path
    """Folder of the run."""
    steps: int
    """Optimiser steps."""
    parameters: int
    """Weights of the network."""
    horizon: int
    """Action blocks of its longest plan."""
    cost: float
    """Cost of the best plan of each problem at the end, as a part of that of standing still."""
    success: dict[str, float]
    """Success on validation tasks by preset; empty where there is no simulator or no task."""
    training_seconds: float
    """Seconds of this call's training loop."""
    wall_seconds: float
    """Seconds of this call, collecting data and validating included."""


def train_proposer_run(
    source: str,
    config: ProposalConfig,
    *,
    rules: ProposerRules,
    data_root: Path,
    device: str,
    resume: bool = False,
    overwrite: bool = False,
    processes: int | None = None,
    encoder_weights: str | None = None,
    trackers: Sequence[TrackerName] = (),
) -> TrainedProposer:
    """Train a proposer through the world model of a run, on the run's own data.

    Args:
        source: run folder, or name of a bundled or released model with `rules.out`.
        config: the network and how it is trained.
        rules: where, and on what.
        data_root: where data sets are stored; a missing one is collected.
        device: device to train on.
        resume: go on with the proposer that is there.
        overwrite: replace the proposer that is there.
        processes: processes that collect a missing data set; None means one for each thread.
        encoder_weights: where the weights of a frozen encoder are here; None: where its training
            found them.
        trackers: where rows of metrics go beside `proposer.jsonl`.
    """
    began = perf_counter()
    tune_process()
    loaded = load(source, device=device, encoder_weights=encoder_weights)
    with run_beside(source, loaded, out=rules.out) as run, ExitStack() as stack:
        place = run / PROPOSER
        saved = find_saved(place, what="proposer", resume=resume, overwrite=overwrite)
        require_model_in(run, loaded, copied=rules.out is not None)
        horizon = rules.horizon or _longest(loaded)
        _require_possible(loaded, config, rules, horizon=horizon)
        step = 0 if saved is None else require_proposer(saved, source=place).step
        settings = cast(dict[str, JsonValue], asdict(config))
        logged = Logged(file=run / "proposer.jsonl", step=step, config=settings)
        curves = stack.enter_context(open_trackers(trackers, logged))
        state, windows, record = _begin(
            loaded, config, rules, horizon=horizon, data_root=data_root, processes=processes
        )
        if saved is not None:
            before = require_proposer(saved, source=place)
            restore_beside(state, saved, before=before, like=record, place=place)
        trained_from = perf_counter()
        last = _train(
            state, loaded, windows, config, record, place=place, seed=rules.seed, curves=curves
        )
        seconds = perf_counter() - trained_from
    found = load(run, device=device, encoder_weights=encoder_weights)
    success = _validate(found, num_tasks=rules.num_tasks, data_root=data_root)
    return TrainedProposer(
        run=run,
        steps=state.step,
        parameters=sum(one.numel() for one in state.proposer.parameters()),
        horizon=horizon,
        cost=last.get("cost", float("nan")),
        success=success,
        training_seconds=seconds,
        wall_seconds=perf_counter() - began,
    )


def _begin(
    loaded: LoadedModel,
    config: ProposalConfig,
    rules: ProposerRules,
    *,
    horizon: int,
    data_root: Path,
    processes: int | None,
) -> tuple[ProposerState, Windows, ProposerRecord]:
    """Return a new proposer, what it learns from, and what is written about it."""
    windows = _windows(
        loaded,
        rules,
        num_steps=config.proposer.window - 1 + horizon,
        data_root=data_root,
        processes=processes,
    )
    state = new_state(
        loaded.model,
        windows,
        objective=loaded.experiment.objective,
        config=config,
        horizon=horizon,
        seed=rules.seed,
    )
    record = ProposerRecord(
        config={**asdict(config), "seed": rules.seed, "num_episodes": rules.num_episodes},
        shape=asdict(state.proposer.shape),
        model=fingerprint(loaded.model),
        step=0,
    )
    return state, windows, record


def train_own_proposer(
    run: Path,
    *,
    data_root: Path,
    device: str,
    processes: int | None = None,
    trackers: Sequence[TrackerName] = (),
) -> TrainedProposer | None:
    """Train the proposer that a trained run asks for, as far as it is not; None if it wants none.

    It is the last stage of `jepawm train`. Where several processes trained, the first one does this.
    """
    experiment = load_experiment(run)
    if experiment.proposals.num_steps == 0 or not is_first():
        return None
    return train_proposer_run(
        str(run),
        experiment.proposals,
        rules=ProposerRules(seed=experiment.seed),
        data_root=data_root,
        device=device,
        resume=True,
        processes=processes,
        trackers=trackers,
    )


def own_proposals(source: str) -> ProposalConfig:
    """Return how a run's recipe trains its proposer; the defaults if it has none."""
    own = load_experiment(source).proposals
    return own if own.num_steps > 0 else ProposalConfig()


def _longest(loaded: LoadedModel) -> int:
    """Return the horizon of the longest plans that a run's protocols ask for."""
    horizons = [one.horizon for one in loaded.experiment.protocols]
    if not horizons:
        raise UserError(
            f"{loaded.name} has no protocol that says how far plans look ahead; give --horizon"
        )
    return max(horizons)


def _require_possible(
    loaded: LoadedModel, config: ProposalConfig, rules: ProposerRules, *, horizon: int
) -> None:
    """Refuse now what would fail after minutes of training."""
    if config.num_steps < 1:
        raise UserError("num_steps = 0 trains no proposer; give at least 1")
    if config.proposer.window > loaded.model.window:
        raise UserError(
            f"proposer.window = {config.proposer.window}, and the model looks at {loaded.model.window} "
            f"latents; give 1 to {loaded.model.window}"
        )
    if loaded.experiment.env == RECORDINGS or rules.num_tasks == 0:
        return
    needed = _validated_under(loaded).horizon
    if horizon < needed:
        raise UserError(
            f"--horizon {horizon} is too short for the validation tasks, whose plans have {needed} "
            "action blocks; leave them out by --episodes 0"
        )
    loaded.make_env()  # what it needs is installed


def _windows(
    loaded: LoadedModel,
    rules: ProposerRules,
    *,
    num_steps: int,
    data_root: Path,
    processes: int | None,
) -> Windows:
    """Cut the run's data into windows as long as the longest plan, and the past that it sees."""
    store, train, _ = split_store(
        loaded, num_episodes=rules.num_episodes, data_root=data_root, processes=processes
    )
    data = loaded.experiment.data
    longest = int(store.lengths.max() - 1) // data.frameskip
    if num_steps > longest:
        raise UserError(
            f"plans and the past that they start from have {num_steps} action blocks, and the longest "
            f"episode of {store.path} has {longest}; give a shorter --horizon"
        )
    return Windows(
        store,
        episodes=train,
        num_steps=num_steps,
        frameskip=data.frameskip,
        normalizer=loaded.normalizer,
    )


def _validated_under(loaded: LoadedModel) -> Protocol:
    known = loaded.experiment.protocols
    return next((one for one in known if one.name == _PROTOCOL), known[0])


def _validate(loaded: LoadedModel, *, num_tasks: int, data_root: Path) -> dict[str, float]:
    """Return success on validation tasks of the protocol `paper`, by preset."""
    experiment = loaded.experiment
    if experiment.env == RECORDINGS or num_tasks == 0:
        return {}
    env, found = loaded.make_env(), {}
    tasks_of = TaskRules(num_tasks=num_tasks, split="val", data_root=data_root)
    for preset in ("direct", "propose"):
        planner = preset_planner(loaded.run, preset)
        assert takes_proposals(planner)
        assert loaded.proposer is not None
        count = min(planner.num_proposals, loaded.proposer.config.num_plans)
        planner = replace(planner, num_proposals=count)  # pyright: ignore[reportArgumentType]
        agent = loaded.agent(protocol=_validated_under(loaded), planner=planner)
        tasks = find_tasks(experiment, env, protocol=agent.protocol, rules=tasks_of)
        batches = [tasks[start : start + _BATCH] for start in range(0, num_tasks, _BATCH)]
        done = join(
            [run_episodes(env, one, agent=agent, protocol=agent.protocol) for one in batches]
        )
        found[preset] = float(done.success(agent.protocol).mean())
    return found


def _train(
    state: ProposerState,
    loaded: LoadedModel,
    windows: Windows,
    config: ProposalConfig,
    record: ProposerRecord,
    *,
    place: Path,
    seed: int,
    curves: Trackers,
) -> dict[str, float]:
    """Train to the end, or to a signal that asks to stop; returns the last metrics."""
    bounds = loaded.experiment.agent.bounds(
        action_dim=loaded.normalizer.action_dim,
        frameskip=loaded.experiment.data.frameskip,
        device=loaded.normalizer.action_mean.device,
    )
    return train_beside(
        state,
        record,
        place=place,
        title="train-proposer",
        num_steps=config.num_steps,
        train=lambda hooks: train_proposer(
            state,
            loaded.model,
            windows=windows,
            objective=loaded.experiment.objective,
            config=config,
            seed=seed,
            hooks=hooks,
            bounds=bounds,
        ),
        curves=curves,
    )
