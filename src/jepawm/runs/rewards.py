"""`jepawm train-reward`: a reward on the latents of a trained world model, saved beside its checkpoint."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import perf_counter

import numpy as np

from jepawm.data.windows import Windows
from jepawm.engine.process import tune_process
from jepawm.evaluation.calibration import Calibration, calibrate
from jepawm.hub.load import LoadedModel, load
from jepawm.hub.proposers import fingerprint
from jepawm.hub.rewards import (
    REWARD,
    kind_of,
    load_reward,
    require_reward_record,
)
from jepawm.records import RewardRecord
from jepawm.rewards import RewardConfig
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
from jepawm.runs.reward_sources import RewardSource, find_targets
from jepawm.training.rewards import (
    RewardData,
    RewardState,
    new_reward,
    train_reward,
)


@dataclass(frozen=True, kw_only=True)
class RewardRules:
    """Where a reward is trained, and on what."""

    out: Path | None = None
    """Folder that gets a copy of the checkpoint and the reward; None: the run itself."""
    folder: str = REWARD
    """Name of the folder of the reward in it."""
    num_episodes: int | None = None
    """Episodes to learn from, collected where they are missing; None: those of the run."""
    horizon: int | None = None
    """Action blocks of a piece of experience; None: the longest of the run's protocols."""
    seed: int = 0
    """Seed of the weights and of the order of the data."""


@dataclass(frozen=True, kw_only=True)
class TrainedReward:
    """A finished reward and how good it is."""

    run: Path
    """Folder of the run."""
    folder: str
    """Name of the reward's folder in it."""
    kind: str
    """What it learned from."""
    steps: int
    """Optimiser steps."""
    parameters: int
    """Weights of all members."""
    calibration: Calibration | None
    """How it predicts held-out returns; None where the true reward is not known."""
    training_seconds: float
    """Seconds of this call's training loop."""


def train_reward_run(
    source: str,
    config: RewardConfig,
    *,
    learns_from: RewardSource,
    rules: RewardRules,
    data_root: Path,
    device: str,
    resume: bool = False,
    overwrite: bool = False,
    processes: int | None = None,
    encoder_weights: str | None = None,
) -> TrainedReward:
    """Train a reward on the frozen world model of a run, on the run's own data.

    Args:
        source: run folder, or name of a bundled model with `rules.out`.
        config: the networks and how they are trained.
        learns_from: rewards, labels or preferences.
        rules: where, and on what.
        data_root: where data sets are stored; a missing one is collected.
        device: device to train on.
        resume: go on with the reward that is there.
        overwrite: replace the reward that is there.
        processes: processes that collect a missing data set; None means one for each thread.
        encoder_weights: where the weights of a frozen encoder are here; None: where its training
            found them.
    """
    tune_process()
    kind = learns_from.kind
    loaded = load(source, device=device, encoder_weights=encoder_weights)
    require_own_folder(rules.folder)
    with run_beside(source, loaded, out=rules.out) as run:
        place = run / rules.folder
        saved = find_saved(place, what="reward", resume=resume, overwrite=overwrite)
        require_model_in(run, loaded, copied=rules.out is not None)
        train, val = _windows(loaded, rules, learns_from, data_root=data_root, processes=processes)
        data = find_targets(train, learns_from, env=loaded.experiment.env)
        data = replace(data, windows=encoded_once(loaded, train))
        state = new_reward(loaded.model, data, config=config, kind=kind, seed=rules.seed)
        record = RewardRecord(
            config={
                **asdict(config),
                "seed": rules.seed,
                "num_episodes": rules.num_episodes,
                "horizon": train.num_steps,
            },
            shape=asdict(state.reward.shape),
            source={**learns_from.describe()},
            model=fingerprint(loaded.model),
            step=0,
        )
        if saved is not None:
            before = require_reward_record(saved, source=place)
            restore_beside(state, saved, before=before, like=record, place=place)
        began = perf_counter()
        _train(state, loaded, data, config, record, place=place, seed=rules.seed)
        seconds = perf_counter() - began
    reward, _ = load_reward(place, model=loaded.model, device=device)
    return TrainedReward(
        run=run,
        folder=rules.folder,
        kind=kind,
        steps=state.step,
        parameters=sum(one.numel() for one in reward.parameters()),
        calibration=None
        if learns_from.preferences is not None
        else calibrate(
            reward,
            loaded.model,
            data=find_targets(val, learns_from, env=loaded.experiment.env),
        ),
        training_seconds=seconds,
    )


def _windows(
    loaded: LoadedModel,
    rules: RewardRules,
    learns_from: RewardSource,
    *,
    data_root: Path,
    processes: int | None,
) -> tuple[Windows, Windows]:
    """Cut the run's data into pieces, to learn from and held out; preferences may name all episodes."""
    store, train, val = split_store(
        loaded, num_episodes=rules.num_episodes, data_root=data_root, processes=processes
    )
    if learns_from.preferences is not None:
        train = val = np.concatenate([train, val])
    if len(val) == 0:
        val = train
    horizon = rules.horizon or max(one.horizon for one in loaded.experiment.protocols)
    frameskip = loaded.experiment.data.frameskip
    cut = {"num_steps": horizon, "frameskip": frameskip, "normalizer": loaded.normalizer}
    return Windows(store, episodes=train, **cut), Windows(store, episodes=val, **cut)


def _train(
    state: RewardState,
    loaded: LoadedModel,
    data: RewardData,
    config: RewardConfig,
    record: RewardRecord,
    *,
    place: Path,
    seed: int,
) -> None:
    """Train to the end, or to a signal that asks to stop."""
    kind = kind_of(record, source=place)
    train_beside(
        state,
        record,
        place=place,
        title="train-reward",
        num_steps=config.num_steps,
        train=lambda hooks: train_reward(
            state, loaded.model, data=data, config=config, kind=kind, seed=seed, hooks=hooks
        ),
    )
