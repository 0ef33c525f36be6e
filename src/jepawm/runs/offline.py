"""`jepawm eval` on recordings: predictions and plans of a model beside what was recorded."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np
import torch

from jepawm.data.episodes import EpisodeStore, open_store
from jepawm.data.recording import pose_differences
from jepawm.data.windows import Windows, hold_out, split_episodes
from jepawm.engine.config import Precision
from jepawm.errors import UserError
from jepawm.evaluation.action_score import action_errors, action_score
from jepawm.evaluation.evaluate import PlanningSetup, planning_agent
from jepawm.evaluation.offline import (
    OfflinePlans,
    action_distances,
    plan_clips,
    prediction_errors,
)
from jepawm.evaluation.results import JsonValue, describe, versions, write_results
from jepawm.hub.load import LoadedModel, load
from jepawm.normalizer import Normalizer
from jepawm.protocol import Protocol
from jepawm.runs.datasets import store_path
from jepawm.runs.evaluate import copy_record, default_folder, planning_setup
from jepawm.runs.recordings import use_recordings

FILE = "offline.json"
"""What an evaluation on recordings writes, beside the `results.json` of one in a simulator."""
_LONGEST = 6


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


def evaluate_offline(
    source: str,
    *,
    rules: OfflineRules,
    data: Path | None,
    data_root: Path,
    out: Path | None,
    device: str,
    planner: object | None,
    precision: Precision | None = None,
    overwrite: bool = False,
    encoder_weights: str | None = None,
) -> dict[str, object]:
    """Evaluate a model on recordings; writes `offline.json`.

    Args:
        source: run folder, or bundled or released name.
        rules: what is measured.
        data: recordings; None means those of the training. Of others all episodes count.
        data_root: folder of data sets.
        out: folder for the results; None is the run's own folder, or a new one below `runs`.
        device: device to plan on.
        planner: planner in place of the experiment's; None keeps it.
        precision: precision of planning in place of the experiment's; None keeps it.
        overwrite: replace results that are there.
        encoder_weights: where the weights of a frozen encoder are here.

    Raises:
        UserError: if anything does not fit.
    """
    torch.set_flush_denormal(True)
    folder = out or default_folder(source, "offline")
    if (folder / FILE).exists() and not overwrite:
        raise UserError(f"{folder} already holds {FILE}; give another --out, or --overwrite")
    loaded = load(source, device=device, encoder_weights=encoder_weights)
    store, episodes = _episodes(loaded, rules, data=data, data_root=data_root)
    results: dict[str, JsonValue] = {
        "env": loaded.experiment.env,
        "protocol": "offline",
        "data": store.manifest.environment,
        "split": rules.split,
        "episodes": episodes.tolist(),
        "seed": rules.seed,
        **_prediction(loaded, store, episodes, rules),
        **_plans(loaded, store, episodes, rules, planner, precision),
        "versions": versions(),
    }
    path = write_results(folder / FILE, results)
    copy_record(loaded.record, folder)
    return {**results, "written": path}


def _episodes(
    loaded: LoadedModel, rules: OfflineRules, *, data: Path | None, data_root: Path
) -> tuple[EpisodeStore, np.ndarray]:
    experiment = loaded.experiment
    trained = experiment.data
    if data is not None:
        blank = replace(experiment, data=replace(trained, store=None))
        trained = use_recordings(blank, data, data_root=data_root).data
    path = store_path(experiment.env, trained, data_root=data_root)
    if not path.exists():
        raise UserError(f"{path}, the data of the training, is not here; give --data RECORDINGS")
    store = open_store(path)
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
    chosen = {"test": test, "val": val}.get(rules.split)
    if chosen is None or len(chosen) == 0:
        raise UserError(
            f"split {rules.split!r} of {path} has no episodes; choose test (needs data.held_out in "
            "training) or val, or give other recordings by --data"
        )
    return store, np.sort(chosen)


def _prediction(
    loaded: LoadedModel, store: EpisodeStore, episodes: np.ndarray, rules: OfflineRules
) -> dict[str, JsonValue]:
    windows = Windows(
        store,
        episodes=episodes,
        num_steps=_LONGEST,
        frameskip=loaded.experiment.data.frameskip,
        normalizer=loaded.normalizer.to("cpu"),
    )
    _require_several(windows, rules)
    device = loaded.normalizer.action_mean.device
    errors = prediction_errors(loaded.model, windows, num_windows=rules.num_clips, device=device)
    return {"prediction_windows": min(rules.num_clips, len(windows)), "prediction": errors}


def _require_several(windows: Windows, rules: OfflineRules) -> None:
    if min(len(windows), rules.num_clips) < 2:
        raise UserError(
            f"{len(windows)} clips of {windows.span} frames, {rules.num_clips} asked for: an "
            "interval needs at least 2; lower --horizon, raise --episodes or give longer recordings"
        )


def _plans(
    loaded: LoadedModel,
    store: EpisodeStore,
    episodes: np.ndarray,
    rules: OfflineRules,
    planner: object | None,
    precision: Precision | None,
) -> dict[str, JsonValue]:
    frameskip, horizon = loaded.experiment.data.frameskip, rules.horizon
    protocol = Protocol(
        name="offline",
        horizon=horizon,
        num_action_steps=horizon,
        frameskip=frameskip,
        max_env_steps=horizon * frameskip,
    )
    setup = planning_setup(loaded, protocol, planner=planner, precision=precision)
    normalizer = loaded.normalizer.to("cpu")
    clips = Windows(
        store,
        episodes=episodes,
        num_steps=horizon + 1,
        frameskip=frameskip,
        normalizer=normalizer.identity(),
    )
    _require_several(clips, rules)
    device = loaded.normalizer.action_mean.device
    plans = plan_clips(
        planning_agent(setup, protocol, generator=torch.Generator(device).manual_seed(rules.seed)),
        clips,
        num_clips=rules.num_clips,
        normalizer=normalizer,
        generator=torch.Generator().manual_seed(rules.seed),
    )
    num_seen = len(store) - loaded.experiment.data.held_out
    varying = np.array(store.statistics(num_episodes=max(num_seen, 1)).action_std) > 0
    return {
        "clips": len(plans.recorded),
        "horizon": horizon,
        "frameskip": frameskip,
        "varying_columns": int(varying.sum()),
        "actions": cast(JsonValue, action_distances(plans, varying)),
        **_pose_errors(plans, store, normalizer),
        "seconds_per_plan": plans.seconds_per_plan,
        **_description(setup),
    }


def _pose_errors(
    plans: OfflinePlans, store: EpisodeStore, normalizer: Normalizer
) -> dict[str, JsonValue]:
    """Return the Action Score and its parts where actions are differences of an arm's poses."""
    if not has_pose_actions(store):
        return {}
    recorded = normalizer.unnormalize_action(plans.recorded).double().numpy()
    rows: dict[str, JsonValue] = {}
    for name, actions in plans.rows.items():
        planned = normalizer.unnormalize_action(actions).double().numpy()
        errors = action_errors(planned, recorded)
        rows[name] = {
            "action_score": action_score(float(errors.xyz.mean())),
            "total": float(errors.total.mean()),
            "xyz": float(errors.xyz.mean()),
            "orientation": float(errors.orientation.mean()),
            "closure": float(errors.closure.mean()),
        }
    return {"poses": rows}


def has_pose_actions(store: EpisodeStore) -> bool:
    """Return whether the actions of the first episode are those between its poses."""
    proprio = store.proprio
    if proprio is None or proprio.shape[1] != 7 or store.actions.shape[1] != 7:
        return False
    length = int(store.lengths[0])
    between = pose_differences(np.asarray(proprio[:length], dtype=np.float64))
    return bool(np.allclose(between, store.actions[: length - 1], atol=1e-4))


def _description(setup: PlanningSetup) -> dict[str, JsonValue]:
    return {
        "planner": describe(setup.planner),
        "objective": describe(setup.objective),
        "agent": {"window": setup.window},
    }
