import io
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from jepawm.collect import Script, collect, collect_environment, random_wall
from jepawm.data.episodes import EpisodeStore
from jepawm.envs.wall import WallBatch
from jepawm.errors import UserError
from jepawm.protocols import Task


def _collect(path: Path, *, seed: int = 3, num_episodes: int = 5) -> EpisodeStore:
    return collect_environment(
        "wall",
        path=path,
        num_episodes=num_episodes,
        num_steps=7,
        image_size=32,
        seed=seed,
        console=Console(file=io.StringIO()),
    )


def _files(path: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in path.iterdir()}


def test_stored_actions_replay_to_stored_states_and_frames(tmp_path: Path):
    store = _collect(tmp_path / "store")
    assert store.state is not None
    env = WallBatch(image_size=32)
    starts = store.state[store.starts]
    obs = env.reset([Task(start=tuple(start), goal=tuple(start)) for start in starts.tolist()])
    for t in range(8):
        assert np.array_equal(env.states(), store.state[store.starts + t])
        assert np.array_equal(obs.pixels.numpy(), store.pixels[store.starts + t])
        if t < 7:
            obs = env.step(store.actions[store.starts + t])


def test_same_seed_same_bytes_other_seed_other(tmp_path: Path):
    _collect(tmp_path / "one")
    _collect(tmp_path / "two")
    _collect(tmp_path / "three", seed=4)
    assert _files(tmp_path / "one") == _files(tmp_path / "two")
    assert _files(tmp_path / "one")["actions.npy"] != _files(tmp_path / "three")["actions.npy"]


def test_chunks_do_not_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    _collect(tmp_path / "one")
    monkeypatch.setattr("jepawm.collect._CHUNK", 2)
    _collect(tmp_path / "two")
    assert _files(tmp_path / "one") == _files(tmp_path / "two")


def test_manifest_says_what_was_done(tmp_path: Path):
    manifest = _collect(tmp_path / "store").manifest
    assert (manifest.environment, manifest.seed, manifest.image_size) == ("wall", 3, 32)
    assert (manifest.num_episodes, manifest.num_frames, manifest.num_actions) == (5, 40, 35)
    assert manifest.settings == {"policy": "wall", "num_episodes": 5, "num_steps": 7}


def test_proprio_is_the_position(tmp_path: Path):
    store = _collect(tmp_path / "store")
    assert np.array_equal(store.proprio, store.state.astype(np.float32))


def test_wall_statistics_match_the_reference(tmp_path: Path):
    """Section 2.2: action std 0.75, position mean about 32; the std is less, for starts at the door."""
    script = random_wall(np.random.default_rng(0), num_episodes=400, num_steps=50)
    env = WallBatch(image_size=16)
    store = collect(
        env,
        script,
        path=tmp_path / "store",
        environment="wall",
        seed=0,
        settings={},
        console=Console(file=io.StringIO()),
    )
    statistics = store.manifest.statistics
    assert statistics.action_mean == pytest.approx([0, 0], abs=0.05)
    assert statistics.action_std == pytest.approx([0.7523, 0.7467], abs=0.05)
    assert statistics.proprio_mean == pytest.approx([31.9, 31.8], abs=2.5)
    assert statistics.proprio_std == pytest.approx([17.7, 17.3], abs=4.5)


def test_existing_store_is_kept(tmp_path: Path):
    _collect(tmp_path / "store")
    before = _files(tmp_path / "store")
    with pytest.raises(UserError, match="exists already"):
        _collect(tmp_path / "store", seed=9)
    assert _files(tmp_path / "store") == before


def test_unknown_environment_and_bad_numbers(tmp_path: Path):
    with pytest.raises(UserError, match=r"unknown environment 'wal'; did you mean 'wall'"):
        collect_environment("wal", path=tmp_path / "store", seed=0)
    with pytest.raises(UserError, match="num_episodes = 0"):
        _collect(tmp_path / "store", num_episodes=0)
    with pytest.raises(UserError, match="seed = -1"):
        _collect(tmp_path / "store", seed=-1)
    assert list(tmp_path.iterdir()) == []


def test_script_with_nan_actions_leaves_nothing(tmp_path: Path):
    script = Script(
        tasks=[Task(start=(10.0, 10.0), goal=(10.0, 10.0))], actions=np.full((1, 3, 2), np.nan)
    )
    with pytest.raises(UserError, match=r"not finite|NaN"):
        collect(
            WallBatch(image_size=32),
            script,
            path=tmp_path / "store",
            environment="wall",
            seed=None,
            settings={},
            console=Console(file=io.StringIO()),
        )
    assert list(tmp_path.iterdir()) == []
