"""`jepawm eval` on recordings: predictions and plans of a model against what was recorded."""

import logging
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from jepawm.agent import PlanningAgent
from jepawm.contracts import Objective, Planner
from jepawm.data.episodes import EpisodeStore
from jepawm.data.poses import pose_differences
from jepawm.data.windows import Windows, hold_out, split_episodes
from jepawm.engine.config import Precision
from jepawm.engine.process import tune_process
from jepawm.errors import UserError
from jepawm.evaluation.offline import (
    OfflineResults,
    PoseErrors,
    action_distances,
    pose_errors,
    prediction_errors,
)
from jepawm.evaluation.offline_plans import OfflinePlans, command_units, plan_clips
from jepawm.evaluation.result_files import write_json
from jepawm.evaluation.results import describe, versions
from jepawm.hub.load import LoadedModel, load
from jepawm.normalizer import Normalizer
from jepawm.protocol import MOST_TASKS, Protocol
from jepawm.runs.datasets import open_seen, store_path, use_recordings
from jepawm.runs.evaluate import default_folder, with_precision
from jepawm.runs.run_folder import EVALUATION, first_takes, training_files

FILE = "offline.json"
"""What an evaluation on recordings writes, beside the `results.json` of one in a simulator."""
_LONGEST = 6
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class OfflineRules:
    """What is measured on recordings."""

    horizon: int = 3
    """Action blocks from the first frame of a clip to its goal."""
    num_clips: int = 96
    """Clips, evenly spaced over the episodes; at most those there are."""
    seed: int = 0
    """Seed of planner and random actions."""
    split: str = "test"
    """`test`: the held-out episodes of the training data; `val`: its validation episodes."""

    def __post_init__(self) -> None:
        """Check ranges; how many clips are enough depends on the recordings."""
        for name, value in (("horizon", self.horizon), ("episodes", self.num_clips)):
            if not 1 <= value <= MOST_TASKS:
                raise UserError(f"--{name} {value}; give at least 1, at most {MOST_TASKS}")
        if not 0 <= self.seed < 2**63:
            raise UserError(f"--seed {self.seed}; give 0 or more, below 2**63")


@dataclass(frozen=True, kw_only=True)
class OfflineEvaluation:
    """What an evaluation on recordings found, and where it is written."""

    results: OfflineResults
    """What was found."""
    written: Path
    """Path of `offline.json`."""


def evaluate_offline(
    source: str,
    *,
    rules: OfflineRules,
    data: Path | None,
    data_root: Path,
    out: Path | None,
    device: str,
    planner: Planner | None,
    objective: Objective | None = None,
    precision: Precision | None = None,
    overwrite: bool = False,
    encoder_weights: str | None = None,
) -> OfflineEvaluation:
    """Evaluate a model on recordings; writes `offline.json`.

    Args:
        source: run folder, or bundled or released name.
        rules: what is measured.
        data: recordings; None means those of the training. Of others all episodes count.
        data_root: folder of data sets.
        out: folder for the results; None is the run's own folder, or a new one below `runs`.
        device: device to plan on.
        planner: planner in place of the experiment's; None keeps it.
        objective: what plans minimise in place of the experiment's; None keeps it.
        precision: precision of planning in place of the experiment's; None keeps it.
        overwrite: replace results that are there.
        encoder_weights: where the weights of a frozen encoder are here.
    """
    tune_process()
    folder = out or default_folder(source, "offline")
    with first_takes(folder, by=EVALUATION):
        if (folder / FILE).exists() and not overwrite:
            raise UserError(f"{folder} already holds {FILE}; give another --out, or --overwrite")
        loaded = load(source, device=device, encoder_weights=encoder_weights)
        store, episodes = find_recordings(loaded, split=rules.split, data=data, data_root=data_root)
        agent = _agent(loaded, rules, planner=planner, objective=objective, precision=precision)
        results = _measure(loaded, store, episodes, rules=rules, agent=agent)
        beside = training_files(loaded.run, folder, overwrite=overwrite)
        path = write_json(folder / FILE, results.to_json(), beside=beside)
    return OfflineEvaluation(results=results, written=path)


def _measure(
    loaded: LoadedModel,
    store: EpisodeStore,
    episodes: np.ndarray,
    *,
    rules: OfflineRules,
    agent: PlanningAgent,
) -> OfflineResults:
    """Predict and plan on the recordings, and say what does not vary in them."""
    predicted = _windows(loaded, store, episodes, num_steps=_LONGEST, rules=rules)
    errors = prediction_errors(
        loaded.model,
        predicted,
        num_windows=rules.num_clips,
        device=loaded.normalizer.action_mean.device,
    )
    plans = _plans(loaded, store, episodes, rules=rules, agent=agent)
    num_seen = len(store) - loaded.experiment.data.held_out
    varying = np.array(store.statistics(num_episodes=max(num_seen, 1)).action_std) > 0
    constant = [name for name, steps in errors.items() if not any(step.copy for step in steps)]
    if not varying.any():
        constant.append("actions")
    if constant:
        _LOG.warning(
            "nothing varies in these recordings in %s: ratios and distances to it are null",
            ", ".join(constant),
        )
    return OfflineResults(
        env=loaded.experiment.env,
        data=store.manifest.environment,
        split=rules.split,
        episodes=tuple(episodes.tolist()),
        seed=rules.seed,
        prediction_windows=min(rules.num_clips, len(predicted)),
        prediction=errors,
        clips=len(plans.recorded),
        horizon=rules.horizon,
        frameskip=loaded.experiment.data.frameskip,
        varying_columns=int(varying.sum()),
        forms=_forms(loaded.normalizer),
        actions=action_distances(plans, varying),
        groups={
            name: action_distances(plans, varying & columns)
            for name, columns in joint_groups(store).items()
            if (varying & columns).any()
        },
        poses=_poses(plans, store, command_units(loaded.normalizer.to("cpu"))),
        seconds_per_plan=plans.seconds_per_plan,
        planner=describe(agent.planner),
        objective=describe(agent.objective),
        agent={"window": agent.config.window},
        versions=versions(),
    )


def find_recordings(
    loaded: LoadedModel, *, split: str, data: Path | None, data_root: Path
) -> tuple[EpisodeStore, np.ndarray]:
    """Return a store and the episodes of it that a model is measured on.

    Args:
        loaded: the model.
        split: `test` or `val` episodes of the training data; of others all count.
        data: recordings; None means those of the training.
        data_root: folder of data sets.
    """
    experiment = loaded.experiment
    trained = experiment.data
    if data is not None:
        new = replace(trained, store=None, image_size=loaded.image_size)
        blank = replace(experiment, data=new)
        trained = use_recordings(blank, data, data_root=data_root).data
    path = store_path(experiment.env, trained, data_root=data_root)
    if not path.exists():
        raise UserError(f"{path}, the data of the training, is not here; give --data RECORDINGS")
    store = open_seen(path, trained)
    width = loaded.normalizer.action_dim
    if store.actions.shape[1] != width:
        raise UserError(
            f"{path} has actions of width {store.actions.shape[1]}, the model takes {width}; give "
            "recordings of the same robot"
        )
    if trained.store != experiment.data.store:
        return store, np.arange(len(store))
    seen, test = hold_out(len(store), num_held_out=trained.held_out)
    _, val = split_episodes(
        len(seen), train_fraction=trained.train_fraction, seed=trained.split_seed
    )
    chosen = {"test": test, "val": val}.get(split)
    if chosen is None or len(chosen) == 0:
        raise UserError(
            f"split {split!r} of {path} has no episodes; choose test (needs data.held_out in "
            "training) or val, or give other recordings by --data"
        )
    return store, np.sort(chosen)


def _agent(
    loaded: LoadedModel,
    rules: OfflineRules,
    *,
    planner: Planner | None,
    objective: Objective | None,
    precision: Precision | None,
) -> PlanningAgent:
    """Return the agent that plans from the start of a clip to its end."""
    frameskip = loaded.experiment.data.frameskip
    protocol = Protocol(
        name="offline",
        horizon=rules.horizon,
        num_action_steps=rules.horizon,
        frameskip=frameskip,
        max_env_steps=rules.horizon * frameskip,
    )
    return loaded.agent(
        protocol=protocol,
        planner=planner,
        objective=objective,
        config=with_precision(loaded.experiment.agent, precision),
        seed=rules.seed,
    )


def _windows(
    loaded: LoadedModel,
    store: EpisodeStore,
    episodes: np.ndarray,
    *,
    num_steps: int,
    rules: OfflineRules,
    normalize: bool = True,
) -> Windows:
    """Cut the recordings, into normalised windows or into clips in environment units, as recorded."""
    normalizer = loaded.normalizer.to("cpu")
    recorded = replace(normalizer.identity(), commands=None)
    windows = Windows(
        store,
        episodes=episodes,
        num_steps=num_steps,
        frameskip=loaded.experiment.data.frameskip,
        normalizer=normalizer if normalize else recorded,
    )
    if min(len(windows), rules.num_clips) < 2:
        raise UserError(
            f"{len(windows)} clips of {windows.span} frames, {rules.num_clips} asked for: an "
            "interval needs at least 2; lower --horizon, raise --episodes or give longer recordings"
        )
    return windows


def _plans(
    loaded: LoadedModel,
    store: EpisodeStore,
    episodes: np.ndarray,
    *,
    rules: OfflineRules,
    agent: PlanningAgent,
) -> OfflinePlans:
    return plan_clips(
        agent,
        _windows(
            loaded, store, episodes, num_steps=rules.horizon + 1, rules=rules, normalize=False
        ),
        num_clips=rules.num_clips,
        normalizer=loaded.normalizer.to("cpu"),
        generator=torch.Generator().manual_seed(rules.seed),
    )


def _forms(normalizer: Normalizer) -> dict[str, int]:
    """Return how many columns of an action the model takes in each form."""
    if normalizer.commands is None:
        return {"absolute": normalizer.action_dim}
    return dict(Counter(normalizer.commands.forms))


def joint_groups(store: EpisodeStore) -> dict[str, np.ndarray]:
    """Return which columns `[a]` belong together: those of one name up to its first dot.

    Where the recordings name no columns, each is a group of its own, called by its number.
    """
    names = store.manifest.settings.get("action_names")
    width = store.actions.shape[1]
    if not isinstance(names, list) or len(names) != width:
        names = [str(number) for number in range(width)]
    parts = np.array([str(name).partition(".")[0] for name in names])
    return {str(part): parts == part for part in dict.fromkeys(parts.tolist())}


def _poses(
    plans: OfflinePlans, store: EpisodeStore, normalizer: Normalizer
) -> dict[str, PoseErrors] | None:
    """Return the errors of every row where actions are differences of an arm's poses."""
    if not has_pose_actions(store):
        return None
    recorded = normalizer.unnormalize_action(plans.recorded).double().numpy()
    return {
        name: pose_errors(normalizer.unnormalize_action(actions).double().numpy(), recorded)
        for name, actions in plans.rows.items()
    }


def has_pose_actions(store: EpisodeStore) -> bool:
    """Return whether the actions of the first episode are those between its poses."""
    proprio = store.proprio
    if proprio is None or proprio.shape[1] != 7 or store.actions.shape[1] != 7:
        return False
    length = int(store.lengths[0])
    between = pose_differences(np.asarray(proprio[:length], dtype=np.float64))
    return bool(np.allclose(between, store.actions[: length - 1], atol=1e-4))
