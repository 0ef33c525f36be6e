"""Recordings from their files to the figures of a trained model."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch

from jepawm.agent import AgentConfig, PlanningAgent
from jepawm.build import build_normalizer, build_windows, build_world_model
from jepawm.data.checking import Requirements
from jepawm.data.formats import open_source
from jepawm.data.importing import ImportOptions, import_source
from jepawm.data.poses import pose_differences
from jepawm.data.recording import ReadOptions
from jepawm.data.windows import Windows
from jepawm.errors import UserError
from jepawm.evaluation.offline import action_errors
from jepawm.evaluation.offline_plans import plan_clips
from jepawm.experiment import Experiment
from jepawm.hub.load import load
from jepawm.hub.released import released_experiment
from jepawm.models.encoders import EncoderConfig, build_encoder
from jepawm.planning.cem import CEM
from jepawm.planning.gradient import GradientDescent
from jepawm.planning.objectives import LatentDistance
from jepawm.protocol import Protocol
from jepawm.recipes import RECIPES
from jepawm.runs.datasets import find_or_collect, use_recordings
from jepawm.runs.offline import OfflineRules, evaluate_offline, has_pose_actions, joint_groups
from jepawm.runs.train import train_run
from jepawm.types import Plan

RULES = OfflineRules(num_clips=8, horizon=2)


def write_recordings(folder: Path, *, actions_of=None, still: bool = False) -> Path:
    """Write six episodes of an arm whose poses are seen as a bright column."""
    folder.mkdir()
    generator = np.random.default_rng(0)
    for episode in range(6):
        poses = generator.normal(0, 0.02, (50, 7)).cumsum(0).astype(np.float32)
        poses[:, 6] = np.abs(poses[:, 6]).clip(0, 1)
        if still:
            poses[:] = 0.25
        frames = np.zeros((50, 16, 16, 3), np.uint8)
        frames[np.arange(50), :, (8 + 20 * poses[:, 0]).astype(int).clip(0, 15)] = 255
        actions = pose_differences(poses.astype(np.float64)) if actions_of is None else actions_of
        np.savez(
            folder / f"episode_{episode}.npz",
            frames=frames,
            actions=np.asarray(actions, np.float32),
            proprio=poses,
        )
    return folder


@pytest.fixture
def robot() -> Experiment:
    """Return the recipe `robot` with few steps of a small model."""
    recipe = RECIPES.get("robot")
    assert isinstance(recipe, Experiment)
    return replace(
        recipe,
        data=replace(recipe.data, image_size=16, frameskip=2),
        encoder=replace(recipe.encoder, dim=8, image_size=16),
        predictor=replace(recipe.predictor, depth=1, visual_dim=16),
        proprio=replace(recipe.proprio, dim=4 * 4),
        optim=replace(recipe.optim, num_steps=3, batch_size=8),
        planner=GradientDescent(num_starts=2, num_iterations=3),
    )


def train(experiment: Experiment, source: Path, folder: Path) -> Path:
    chosen = use_recordings(experiment, source, data_root=folder / "root")
    train_run(chosen, out=folder / "run", data_root=folder / "root", device="cpu", resume=False)
    return folder / "run"


def evaluate(run: Path, **changes):
    settings = {
        "rules": RULES,
        "data": None,
        "data_root": run.parent / "root",
        "out": None,
        "device": "cpu",
        "planner": None,
    }
    return evaluate_offline(str(run), **settings | changes).results


def test_from_recordings_to_figures(robot: Experiment, tmp_path: Path):
    source = write_recordings(tmp_path / "arm")
    run = train(robot, source, tmp_path)
    results = evaluate(run)
    assert results.episodes == (4, 5)
    assert (results.clips, results.prediction_windows) == (8, 8)
    assert [step.k for step in results.prediction["proprio"]] == [1, 2, 3, 4, 5, 6]
    assert set(results.actions) == {
        *("model", "zero", "mean", "random", "previous", "steady", "straight")
    }
    assert results.poses["model"].action_score >= 0  # actions are differences of poses
    written = json.loads((run / "offline.json").read_text())
    assert written == results.to_json()
    assert list(written)[:8] == [
        *("env", "protocol", "data", "split", "episodes", "seed"),
        *("prediction_windows", "prediction"),
    ]
    assert written["planner"]["time_budget_s"] is None
    assert list(written["actions"]["model"]) == ["l1", "l1_ci95", "l2", "l2_ci95"]
    assert "model_minus_l1" in written["actions"]["zero"]
    with pytest.raises(UserError, match="already holds"):
        evaluate(run)
    again = evaluate(run, overwrite=True)
    assert again.actions == results.actions
    val = evaluate(run, rules=replace(RULES, split="val"), out=tmp_path / "val")
    assert set(val.episodes) <= {0, 1, 2, 3}
    others = evaluate(run, data=write_recordings(tmp_path / "new"), out=tmp_path / "others")
    assert others.episodes == (0, 1, 2, 3, 4, 5)


def targets(folder: Path) -> Path:
    """Write the same arm, commanded by where it is to be two frames later, and a constant."""
    write_recordings(folder)
    for file in folder.glob("*.npz"):
        content = dict(np.load(file))
        goals = np.concatenate([content["proprio"][2:], content["proprio"][[-1, -1]]])[:49]
        constant = np.full((49, 1), 4.0, np.float32)
        np.savez(file, **content | {"actions": np.concatenate([goals[:, :3], constant], axis=1)})
    return folder


def test_targets_are_taken_as_differences_and_compared_as_commands(
    robot: Experiment, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    caplog.set_level("INFO")
    run = train(robot, targets(tmp_path / "arm"), tmp_path)
    assert "columns of the actions: 4 as differences from the last command" in caplog.text
    results = evaluate(run)
    assert results.forms == {"difference": 4}
    assert list(results.groups) == ["0", "1", "2"]  # the fourth column never changes
    rows = results.actions
    assert rows["straight"].l1 < rows["previous"].l1 < rows["mean"].l1
    assert results.groups["1"]["model"].l1 > 0
    # a plan of no moves at all is the previous command, held
    loaded = load(run)
    still = PlanningAgent(
        loaded.model,
        objective=LatentDistance(),
        planner=Still(),
        normalizer=loaded.normalizer,
        protocol=Protocol(name="clip", frameskip=2, horizon=2, num_action_steps=2),
        config=AgentConfig(window=1),
    )
    store = find_or_collect("recordings", loaded.experiment.data, data_root=tmp_path / "root")
    raw = replace(loaded.normalizer.identity(), commands=None)
    plans = plan_clips(
        still,
        Windows(store, episodes=[4], num_steps=3, frameskip=2, normalizer=raw),
        num_clips=8,
        normalizer=loaded.normalizer,
        generator=torch.Generator(),
    )
    torch.testing.assert_close(plans.rows["model"], plans.rows["previous"])


@dataclass(frozen=True)
class Still:
    """A planner that returns what it is given to start from."""

    needs_gradients: ClassVar[bool] = False

    def plan(self, cost, init, *, bounds, generator) -> Plan:
        return Plan(actions=init, cost=init[:, 0, 0], history=init[None, :, 0, 0])


def test_the_action_layers_of_another_form_start_anew(
    robot: Experiment, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    source = targets(tmp_path / "arm")
    plain = replace(robot, data=replace(robot.data, actions=("absolute",)))
    run = train(plain, source, tmp_path)
    commands = load(run).normalizer.commands
    assert commands is not None
    assert commands.is_absolute
    assert "start anew" not in caplog.text
    train(replace(robot, init_from=str(run)), source, tmp_path / "again")
    assert "predictor.action_encoder.weight" in caplog.text


def test_an_environment_takes_actions_as_they_are(robot: Experiment):
    with pytest.raises(UserError, match=r"data\.actions = auto; the environment wall takes"):
        replace(robot, env="wall")


def test_columns_of_one_name_belong_together(robot: Experiment, tmp_path: Path):
    chosen = use_recordings(robot, write_recordings(tmp_path / "arm"), data_root=tmp_path)
    store = find_or_collect(chosen.env, chosen.data, data_root=tmp_path)
    names = ["left.a", "left.b", "right.a", "right.b", "left.c", "gripper", "x"]
    settings = {**store.manifest.settings, "action_names": names}
    named = replace(store, manifest=replace(store.manifest, settings=settings))
    groups = {
        name: np.flatnonzero(columns).tolist() for name, columns in joint_groups(named).items()
    }
    assert groups == {"left": [0, 1, 4], "right": [2, 3], "gripper": [5], "x": [6]}
    assert list(joint_groups(store)) == [str(number) for number in range(7)]


def test_recordings_in_which_nothing_varies(
    robot: Experiment, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    source = write_recordings(tmp_path / "arm", actions_of=np.full((49, 7), 3.0), still=True)
    run = train(robot, source, tmp_path)
    evaluate(run)
    text = (run / "offline.json").read_text()
    written = json.loads(text)
    assert "NaN" not in text
    assert written["actions"]["model"]["l1"] is None
    assert written["actions"]["model"]["l1_ci95"] == [None, None]
    assert [step["ratio"] for step in written["prediction"]["proprio"]] == [None] * 6
    assert "nothing varies in these recordings in" in caplog.text


def test_held_out_episodes_count_nowhere(robot: Experiment, tmp_path: Path):
    source = write_recordings(tmp_path / "arm")
    chosen = use_recordings(robot, source, data_root=tmp_path)
    store = find_or_collect(chosen.env, chosen.data, data_root=tmp_path)
    windows = build_windows(chosen, store)
    assert sorted(set(windows[0].episodes) | set(windows[1].episodes)) == [0, 1, 2, 3]
    mean = build_normalizer(chosen, store).proprio_mean.numpy()
    assert mean == pytest.approx(store.proprio[:200].mean(0), abs=1e-5)
    again = use_recordings(robot, source, data_root=tmp_path)
    assert again == chosen  # found, not imported again
    assert use_recordings(robot, store.path, data_root=tmp_path).data.store == str(store.path)


def test_errors_say_what_to_do(robot: Experiment, tmp_path: Path):
    with pytest.raises(UserError, match="--data"):
        find_or_collect(robot.env, robot.data, data_root=tmp_path)
    source = write_recordings(tmp_path / "arm", actions_of=np.ones((49, 3)))
    other = replace(robot, data=replace(robot.data, store="another"))
    with pytest.raises(UserError, match="give one of them"):
        use_recordings(other, source, data_root=tmp_path)
    run = train(robot, write_recordings(tmp_path / "poses"), tmp_path)
    with pytest.raises(UserError, match=r"width 3.*takes 7"):
        evaluate(run, data=source)
    with pytest.raises(UserError, match="split 'tset'"):
        evaluate(run, rules=replace(RULES, split="tset"))
    with pytest.raises(UserError, match="at least 2"):
        evaluate(run, rules=replace(RULES, num_clips=1))
    with pytest.raises(UserError, match="is not here"):
        evaluate(run, data_root=tmp_path / "elsewhere")


def test_an_untrained_action_token_model_plans_a_real_clip(shared_data: Path, tmp_path: Path):
    """The predictor of V-JEPA-2-AC, made smaller, with random weights: shapes and units, no skill."""
    options = ReadOptions()
    clip = np.load(shared_data / "franka_clip.npz")
    frames, actions, poses = clip["image_sequence"], clip["actions"][0], clip["poses_sequence"][0]
    np.savez(tmp_path / "clip.npz", frames=frames, actions=actions, proprio=poses[:4])
    store = import_source(
        open_source(tmp_path / "clip.npz", name=None, options=options),
        tmp_path / "franka",
        options=ImportOptions(image_size=32),
        requirements=Requirements(),
        read_options=options,
    ).store
    released = released_experiment("vjepa2_ac_oss")
    torch.manual_seed(0)
    model = build_world_model(
        build_encoder(EncoderConfig(dim=24, grid=2, image_size=32)),
        replace(released.predictor, depth=2, visual_dim=64, num_heads=4, head_dim=None),
        proprio=released.proprio,
        action_dim=7,
        proprio_dim=7,
    ).eval()
    normalizer = store.normalizer().identity()
    clips = Windows(store, episodes=[0], num_steps=3, frameskip=1, normalizer=normalizer)
    agent = PlanningAgent(
        model,
        objective=LatentDistance(),
        planner=CEM(num_samples=8, num_elites=2, num_iterations=2, init_std=0.05),
        normalizer=normalizer,
        protocol=Protocol(name="clip", frameskip=1, horizon=2, num_action_steps=2),
    )
    plans = plan_clips(
        agent, clips, num_clips=1, normalizer=normalizer, generator=torch.Generator().manual_seed(0)
    )
    recorded = plans.recorded.double().numpy()
    assert recorded == pytest.approx(actions[None, 1:])
    errors = action_errors(plans.rows["model"].double().numpy(), recorded)
    assert 0 < errors.xyz[0] < 1
    assert errors.closure[0] > 0
    assert has_pose_actions(store)
