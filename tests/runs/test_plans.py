"""`jepawm collect-plans`: plans of a tiny run, executed and stored."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from jepawm.cli import main
from jepawm.data.episodes import open_store
from jepawm.envs.wall.env import WallBatch
from jepawm.errors import UserError
from jepawm.hub.load import load
from jepawm.planning.random_shooting import RandomShooting
from jepawm.runs import PlanRules, collect_plans
from jepawm.types import Observation

PLANNER = RandomShooting(num_samples=2)


def collect(run: Path, out: Path, **rules):
    return collect_plans(
        str(run),
        out=out,
        planner=PLANNER,
        rules=PlanRules(**{"num_episodes": 3, "noisy": 0.0, "nearer": 0.0} | rules),
        data_root=out.parent,
        processes=1,
    )


def test_the_stored_episodes_are_the_executed_plans(tiny_run: Path, tmp_path: Path):
    out = tmp_path / "plans"
    done = collect(tiny_run, out)
    assert (done.store, done.episodes) == (out, 3)
    store = open_store(out)
    loaded = load(tiny_run)
    protocol = loaded.experiment.protocol("paper")
    num_steps = protocol.horizon * protocol.frameskip
    assert store.num_actions.tolist() == [num_steps] * 3
    assert not (tmp_path / "plans.goals").exists()
    # The goals were where the run's own policy went from the same starts.
    script = loaded.experiment.data.policy.script(
        np.random.default_rng(1), num_episodes=3, num_steps=num_steps, data_root=tmp_path
    )
    env = WallBatch(image_size=loaded.image_size)
    start = env.reset(script.tasks)
    for step in range(num_steps):
        goal = env.step(np.stack([commands[step] for commands in script.commands]))
    agent = loaded.agent(planner=PLANNER, seed=1)
    agent.reset(Observation(pixels=goal.pixels), protocol.horizon)
    first = agent.act(start).unflatten(1, (protocol.frameskip, -1))
    stored = store.actions[store.starts[:, None] + np.arange(protocol.frameskip)]
    torch.testing.assert_close(torch.from_numpy(stored), first.float())
    # What was stored is what the environment does under these actions.
    env.reset(script.tasks)
    for step in range(num_steps):
        env.step(store.actions[store.starts + step])
    np.testing.assert_array_equal(store.state[store.starts + num_steps], env.states())


def test_noise_changes_some_plans_and_a_seed_gives_the_same_bytes(tiny_run: Path, tmp_path: Path):
    plain, noisy, again = (
        open_store(collect(tiny_run, tmp_path / name, num_episodes=8, noisy=part).store)
        for name, part in (("plain", 0.0), ("noisy", 0.5), ("again", 0.5))
    )
    assert noisy.sha256 == again.sha256
    changed = (noisy.actions != plain.actions).any(1).reshape(8, -1).any(1)
    assert 0 < changed.sum() < 8


def test_the_command_line(tiny_run: Path, tmp_path: Path, capsys):
    out = tmp_path / "plans"
    line = ["collect-plans", str(tiny_run), "--out", str(out), "--num-episodes", "2"]
    assert main([*line, "--preset", "fast", "--processes", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["episodes"] == 2
    assert main([*line, "--preset", "fast"]) == 2
    assert "plans" in capsys.readouterr().err
    line[3] = str(tmp_path / "other")
    assert main(line) == 2  # `propose` is the default, and nobody trained a proposer
    assert "train-proposer" in capsys.readouterr().err


def test_what_cannot_be_collected_is_refused(tiny_run: Path, tmp_path: Path):
    with pytest.raises(UserError, match="--seed 0 is that of the run's own data"):
        collect(tiny_run, tmp_path / "plans", seed=0)
    with pytest.raises(UserError, match="noisy = 2"):
        PlanRules(noisy=2.0)
