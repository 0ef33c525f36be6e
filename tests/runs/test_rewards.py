"""`jepawm train-reward` on a tiny run: learned, saved, resumed, planned with, measured, refused."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from jepawm.checkpoint import load_checkpoint, save_checkpoint
from jepawm.cli import main
from jepawm.errors import UserError
from jepawm.hub.load import load
from jepawm.planning.cem import CEM
from jepawm.planning.terms.reward import Reward
from jepawm.rewards import RewardConfig, RewardHeadConfig
from jepawm.runs import RewardRules, RewardSource, beside, train_reward_run

CONFIG = RewardConfig(
    head=RewardHeadConfig(num_members=3, width=16, depth=1), num_steps=6, batch_size=8
)
RULES = RewardRules()
CORNER = RewardSource(rewards="corner")


@pytest.fixture
def run(tiny_run: Path, tmp_path: Path) -> Path:
    """Return a copy of a finished run."""
    return Path(shutil.copytree(tiny_run, tmp_path / "run"))


def train(run: Path, data_root: Path, *, source=CORNER, config=CONFIG, rules=RULES, **more):
    return train_reward_run(
        str(run),
        config,
        learns_from=source,
        rules=rules,
        data_root=data_root,
        device="cpu",
        **more,
    )


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_checkpoint(run / "reward").tensors


def test_it_is_saved_and_an_agent_plans_with_it_without_a_goal(run: Path, wall_data_root: Path):
    done = train(run, wall_data_root)
    assert (done.run, done.steps, done.kind) == (run, 6, "reward")
    assert done.calibration is not None
    assert done.calibration.num_pieces > 0
    loaded = load(run)
    env = loaded.make_env()
    obs = env.reset(env.sample_tasks(0, num_tasks=2))
    planner = CEM(num_samples=8, num_elites=2, num_iterations=2)
    agent = loaded.agent(planner=planner, objective=Reward())
    agent.reset(None, 6)
    assert agent.act(obs).shape == (2, 10)
    plan = agent.last_plan
    assert plan is not None
    with torch.no_grad():
        mean, spread = loaded.reward()(agent.imagined()[:, 1:], plan.actions)
    torch.testing.assert_close(plan.cost, (spread - mean).sum(-1))
    assert load_checkpoint(run / "reward").record.source == {"kind": "reward", "column": "corner"}


def test_the_command_line_trains_and_measures_the_return(run: Path, wall_data_root: Path, capsys):
    data = ["--data-root", str(wall_data_root), "--device", "cpu", "--json"]
    small = ["--num-steps", "2", "--batch-size", "4", "--head.width", "16"]
    assert main(["train-reward", str(run), "--rewards", "corner", *small, *data]) == 0
    assert json.loads(capsys.readouterr().out)["calibration"]["num_pieces"] > 0
    planner = ["--planner", "cem", "--planner.num-samples", "6", "--planner.num-elites", "2"]
    line = ["eval", str(run), "--objective", "reward(discount=0.9)", *planner, "--episodes", "2"]
    assert main([*line, "--planner.num-iterations", "2", *data]) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found["mean_reward"]) == ["do_nothing", "random", "behaviour", "oracle", "model"]
    assert found["reward"] == "corner"
    assert found["objective"] == {
        "type": "Reward",
        "folder": "reward",
        "discount": 0.9,
        "disagreement_weight": 1.0,
    }
    assert json.loads((run / "returns.json").read_text())["reward"] == "corner"
    assert main([*line, *data]) == 2
    assert "already holds returns.json" in capsys.readouterr().err
    assert main([*line, "--reward", "speed", "--overwrite", *data]) == 2
    assert "no reward 'speed' here (known: corner)" in capsys.readouterr().err


def test_stopped_and_resumed_is_the_same(run: Path, wall_data_root: Path, tmp_path, monkeypatch):
    other = Path(shutil.copytree(run, tmp_path / "other"))
    train(run, wall_data_root)
    asked = iter([False, False, True])
    monkeypatch.setattr(beside.StopRequest, "__call__", lambda _: next(asked, True))
    with pytest.raises(UserError, match="stopped; a checkpoint is written, continue with"):
        train(other, wall_data_root)
    monkeypatch.undo()
    assert load_checkpoint(other / "reward").record.step == 2
    train(other, wall_data_root, resume=True)
    assert all(torch.equal(value, weights(other)[name]) for name, value in weights(run).items())
    with pytest.raises(UserError, match="trained with another config"):
        train(other, wall_data_root, config=replace(CONFIG, kept=1.0), resume=True)
    with pytest.raises(UserError, match="holds a reward; go on with it by --resume"):
        train(other, wall_data_root)


def test_preferences_are_learned_from(run: Path, wall_data_root: Path, tmp_path: Path):
    lines = [
        {"first": {"episode": one, "start": 0}, "second": {"episode": 1, "start": 0}}
        | {"first_is_better": float(one % 2)}
        for one in (0, 2, 3)
    ]
    file = tmp_path / "preferences.jsonl"
    file.write_text("\n".join(map(json.dumps, lines)))
    source = RewardSource(preferences=file)
    done = train(run, wall_data_root, source=source)
    assert (done.kind, done.calibration) == ("preference", None)
    record = load_checkpoint(run / "reward").record
    assert (record.source["kind"], record.source["column"]) == ("preference", None)
    file.write_text(json.dumps({**lines[0], "first": {"episode": 0, "start": 9999}}))
    with pytest.raises(UserError, match="starts at frame 9999 of episode 0"):
        train(run, wall_data_root, source=source, overwrite=True)
    for text, match in (
        ('{"first": 3}', "line 1: first is 3"),
        ("", "holds no preference"),
        (json.dumps({**lines[0], "first_is_better": 2}), "first_is_better = 2"),
    ):
        file.write_text(text)
        with pytest.raises(UserError, match=match):
            train(run, wall_data_root, source=source, overwrite=True)


def test_a_reward_of_another_model_is_refused(run: Path, wall_data_root: Path):
    train(run, wall_data_root)
    checkpoint = load_checkpoint(run / "checkpoint", with_training=True)
    name = next(iter(sorted(checkpoint.tensors)))
    changed = {**checkpoint.tensors, name: checkpoint.tensors[name] + 1e-3}
    save_checkpoint(run / "checkpoint", replace(checkpoint, tensors=changed))
    with pytest.raises(UserError, match="trained on another world model"):
        load(run).agent(objective=Reward())
    with pytest.raises(UserError, match="there is no reward at"):
        load(run).agent(objective=Reward(folder="speed"))


@pytest.mark.parametrize(
    ("source", "match"),
    [
        (RewardSource(), "one of --rewards NAME"),
        (RewardSource(rewards="corner", success="corner"), "one of --rewards NAME"),
        (RewardSource(rewards="speed"), "no reward 'speed' .there are: corner"),
    ],
)
def test_what_is_not_there_is_refused(run: Path, wall_data_root: Path, source, match):
    with pytest.raises(UserError, match=match):
        train(run, wall_data_root, source=source)
    assert not (run / "reward").exists()


def test_a_name_that_is_taken_is_refused(run: Path, wall_data_root: Path):
    for folder in ("checkpoint", "../elsewhere"):
        with pytest.raises(UserError, match="a name of its own"):
            train(run, wall_data_root, rules=RewardRules(folder=folder))


def test_a_reward_that_is_not_a_number_is_refused(run: Path, wall_data_root: Path, monkeypatch):
    from jepawm.envs.wall.env import WallBatch

    def broken(self, name, states):
        values = np.ones(states.shape[:-1])
        values[60] = np.nan
        return values

    monkeypatch.setattr(WallBatch, "reward", broken)
    with pytest.raises(UserError, match="corner is NaN or infinite in episode 1"):
        train(run, wall_data_root)
    monkeypatch.setattr(WallBatch, "reward", lambda self, name, states: np.ones(states.shape[:-1]))
    with pytest.raises(UserError, match="1 everywhere"):
        train(run, wall_data_root)
