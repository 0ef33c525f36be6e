"""What a reward learns: a number that the latent holds, from numbers and from comparisons."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import jepawm
from jepawm.collection import collect
from jepawm.data.windows import Windows
from jepawm.evaluation.calibration import calibrate
from jepawm.rewards import RewardConfig, RewardHeadConfig
from jepawm.runs.reward_sources import RewardSource, find_targets
from jepawm.training.parts import PartHooks
from jepawm.training.rewards import block_rewards, new_reward, train_reward

CONFIG = RewardConfig(
    head=RewardHeadConfig(num_members=2, width=16, depth=1),
    num_steps=60,
    batch_size=16,
    learning_rate=5e-3,
)
QUIET = PartHooks(log=lambda *_: None, save=lambda: None, stop=lambda: False)


@pytest.fixture(scope="module")
def windows(tmp_path_factory: pytest.TempPathFactory) -> Windows:
    """Return pieces of two blocks of a few episodes, for the bundled model of Wall."""
    folder = tmp_path_factory.mktemp("rewards") / "wall"
    store = collect("wall", path=folder, num_episodes=12, num_steps=20, image_size=64, seed=0)
    normalizer = jepawm.load("wall").normalizer
    episodes = range(len(store))
    return Windows(store, episodes=episodes, num_steps=2, frameskip=5, normalizer=normalizer)


def test_a_block_earns_the_mean_of_its_arrivals(windows: Windows):
    arrival = np.arange(len(windows.store.actions), dtype=np.float64)  # the row of each frame
    found = block_rewards(windows, arrival)
    row = windows.store.starts[windows.table[3, 0]] + windows.table[3, 1]
    assert found[3].tolist() == [row + 3, row + 8]  # mean of the next five rows, and the five after


@pytest.mark.parametrize("kind", ["reward", "preference"])
def test_it_learns_what_the_latent_holds(windows: Windows, kind, tmp_path: Path):
    loaded = jepawm.load("wall")
    truth = find_targets(windows, RewardSource(rewards="corner"), env="wall")
    assert truth.targets is not None
    data = truth
    if kind == "preference":
        file = tmp_path / "preferences.jsonl"
        pairs = np.random.default_rng(0).integers(0, len(windows), (200, 2))
        rows = []
        for one, other in pairs.tolist():
            better = float(truth.targets[one].sum() > truth.targets[other].sum())
            pieces = [
                {"episode": int(windows.table[each, 0]), "start": int(windows.table[each, 1])}
                for each in (one, other)
            ]
            rows.append({"first": pieces[0], "second": pieces[1], "first_is_better": better})
        file.write_text("\n".join(map(json.dumps, rows)))
        data = find_targets(windows, RewardSource(preferences=file), env="wall")
    state = new_reward(loaded.model, data, config=CONFIG, kind=kind, seed=0)
    before = calibrate(state.reward, loaded.model, data=truth).rank_correlation
    train_reward(state, loaded.model, data=data, config=CONFIG, kind=kind, seed=0, hooks=QUIET)
    after = calibrate(state.reward, loaded.model, data=truth).rank_correlation
    assert before is not None
    assert after is not None
    assert after > before + 0.2
    assert after > 0.5
    assert state.step == 60
    assert torch.isfinite(state.reward.offset)
