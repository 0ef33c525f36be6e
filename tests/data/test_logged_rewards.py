"""Logged rewards: written, read, joined, imported from LeRobot, and counted where they are earned."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from jepawm.data.checking import Requirements
from jepawm.data.episodes import EpisodeStore, open_store
from jepawm.data.exporting import ExportOptions, export_store
from jepawm.data.formats import get_format
from jepawm.data.importing import ImportOptions, import_source
from jepawm.data.joining import join_stores
from jepawm.data.recording import ReadOptions
from jepawm.data.windows import Windows
from jepawm.data.writer import EpisodeWriter
from jepawm.errors import UserError
from jepawm.runs.reward_sources import RewardSource, find_targets

NAMES = ("next.reward", "next.success")


def write(path: Path, *, names=NAMES, rewards=None, num_episodes: int = 2) -> EpisodeStore:
    """Write episodes of five frames; action t of episode e earns 10 e + t."""
    generator = np.random.default_rng(0)
    with EpisodeWriter(
        path, environment="arm", image_size=16, settings={}, reward_names=names, fps=10.0
    ) as writer:
        for episode in range(num_episodes):
            earned = np.stack([10.0 * episode + np.arange(4), np.arange(4) == 3], axis=1)
            writer.append(
                generator.integers(0, 255, (5, 3, 16, 16), dtype=np.uint8),
                generator.standard_normal((4, 2)),
                rewards=(earned if rewards is None else rewards) if names else None,
            )
    return open_store(path)


def test_rewards_come_back_and_are_no_part_of_what_a_model_learns_from(tmp_path: Path):
    store = write(tmp_path / "with")
    assert store.manifest.reward_names == list(NAMES)
    assert store.rewards is not None
    assert store.rewards[5:9, 0].tolist() == [10.0, 11.0, 12.0, 13.0]
    assert np.isnan(store.rewards[4]).all()
    bare = write(tmp_path / "without", names=())
    assert bare.rewards is None
    assert bare.sha256 == store.sha256
    joined = join_stores([tmp_path / "with", tmp_path / "with"], tmp_path / "joined")
    assert joined.rewards is not None
    np.testing.assert_array_equal(joined.rewards[:10], store.rewards)
    with pytest.raises(UserError, match="reward_names"):
        join_stores([tmp_path / "with", tmp_path / "without"], tmp_path / "no")


def test_rewards_of_another_length_are_refused(tmp_path: Path):
    with pytest.raises(UserError, match="expected 4 rows of 2 numbers"):
        write(tmp_path / "store", rewards=np.zeros((3, 2)))


def windows(store: EpisodeStore) -> Windows:
    episodes = range(len(store))
    normalizer = store.normalizer()
    return Windows(store, episodes=episodes, num_steps=2, frameskip=2, normalizer=normalizer)


def test_a_block_earns_what_its_actions_earned(tmp_path: Path):
    cut = windows(write(tmp_path / "store"))
    data = find_targets(cut, RewardSource(rewards="next.reward"), env="recordings")
    torch.testing.assert_close(data.targets, torch.tensor([[0.5, 2.5], [10.5, 12.5]]))
    labels = find_targets(cut, RewardSource(success="next.success"), env="recordings")
    torch.testing.assert_close(labels.targets, torch.tensor([[0.0, 0.5], [0.0, 0.5]]))
    with pytest.raises(UserError, match=r"there are: next\.reward, next\.success"):
        find_targets(cut, RewardSource(rewards="speed"), env="recordings")
    with pytest.raises(UserError, match="no labels from 0 to 1"):
        find_targets(cut, RewardSource(success="next.reward"), env="recordings")


def test_missing_rewards_are_named(tmp_path: Path):
    rewards = np.zeros((4, 2))
    rewards[2] = np.nan
    cut = windows(write(tmp_path / "store", rewards=rewards))
    with pytest.raises(UserError, match="NaN or infinite in episode 0, step 3"):
        find_targets(cut, RewardSource(rewards="next.reward"), env="recordings")


def test_lerobot_rewards_are_imported(tmp_path: Path):
    folder = tmp_path / "lerobot"
    store = write(tmp_path / "store", names=())
    export_store(store, folder, format_name="lerobot", options=ExportOptions(fps=10.0))
    file = next((folder / "data").rglob("*.parquet"))
    table = pq.read_table(file)
    earned = np.arange(table.num_rows, dtype=np.float32)
    table = table.append_column("next.reward", pa.array(earned))
    table = table.append_column("next.success", pa.array(earned > 3))
    pq.write_table(table, file)
    info = json.loads((folder / "meta" / "info.json").read_text())
    info["features"]["next.reward"] = {"dtype": "float32", "shape": [1], "names": None}
    info["features"]["next.success"] = {"dtype": "bool", "shape": [1], "names": None}
    (folder / "meta" / "info.json").write_text(json.dumps(info))
    options = ReadOptions()
    imported = import_source(
        get_format("lerobot").open(folder, options),
        tmp_path / "imported",
        options=ImportOptions(image_size=16),
        requirements=Requirements(),
        read_options=options,
    ).store
    assert imported.manifest.reward_names == list(NAMES)
    assert imported.rewards is not None
    assert imported.rewards[:4].tolist() == [[0.0, 0.0], [1.0, 0.0], [2.0, 0.0], [3.0, 0.0]]
    assert imported.rewards[5].tolist() == [5.0, 1.0]
