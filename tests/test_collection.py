import io
import subprocess
import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from jepawm.collection import collect, collect_script
from jepawm.contracts import Script
from jepawm.data.episodes import EpisodeStore
from jepawm.data.writer import EpisodeWriter
from jepawm.envs.wall.env import WallBatch
from jepawm.envs.wall.policy import RandomWall
from jepawm.errors import UserError
from jepawm.types import Task

QUIET = Console(file=io.StringIO())


def _collect(path: Path, *, seed: int = 3, num_episodes: int = 5) -> EpisodeStore:
    return collect(
        "wall",
        path=path,
        num_episodes=num_episodes,
        num_steps=7,
        image_size=32,
        seed=seed,
        console=QUIET,
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


def test_parts_do_not_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    _collect(tmp_path / "one")
    monkeypatch.setattr("jepawm.collection._PART_EPISODES", 2)
    _collect(tmp_path / "two")
    assert _files(tmp_path / "one") == _files(tmp_path / "two")


def test_manifest_says_what_was_done(tmp_path: Path):
    manifest = _collect(tmp_path / "store").manifest
    assert (manifest.environment, manifest.seed, manifest.image_size) == ("wall", 3, 32)
    assert (manifest.num_episodes, manifest.num_frames, manifest.num_actions) == (5, 40, 35)
    settings = asdict(RandomWall())
    assert manifest.settings == {
        "policy": {"kind": "RandomWall", **settings},
        "num_episodes": 5,
        "num_steps": 7,
    }


def test_proprio_is_the_position(tmp_path: Path):
    store = _collect(tmp_path / "store")
    assert np.array_equal(store.proprio, store.state.astype(np.float32))


def test_wall_statistics_match_the_reference(tmp_path: Path):
    """Section 2.2: action std 0.75, position mean about 32; the std is less, for starts at the door."""
    script = RandomWall().script(
        np.random.default_rng(0), num_episodes=400, num_steps=50, data_root=tmp_path
    )
    store = collect_script(
        partial(WallBatch, image_size=16),
        script,
        path=tmp_path / "store",
        environment="wall",
        seed=0,
        settings={},
        console=QUIET,
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
        collect("wal", path=tmp_path / "store", seed=0)
    with pytest.raises(UserError, match="num_episodes = 0"):
        _collect(tmp_path / "store", num_episodes=0)
    with pytest.raises(UserError, match="seed = -1"):
        _collect(tmp_path / "store", seed=-1)
    assert list(tmp_path.iterdir()) == []


def test_script_with_nan_actions_leaves_nothing(tmp_path: Path):
    script = Script(
        tasks=[Task(start=(10.0, 10.0), goal=(10.0, 10.0))], commands=[np.full((3, 2), np.nan)]
    )
    with pytest.raises(UserError, match=r"not finite|NaN"):
        collect_script(
            partial(WallBatch, image_size=32),
            script,
            path=tmp_path / "store",
            environment="wall",
            seed=None,
            settings={},
            console=QUIET,
        )
    assert list(tmp_path.iterdir()) == []


def test_two_processes_give_the_bytes_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("jepawm.collection._PART_EPISODES", 3)
    settings = {"num_episodes": 8, "num_steps": 6, "image_size": 32, "seed": 2}
    for name in ("pointmaze", "wall"):
        for processes in (1, 2):
            path = tmp_path / f"{name}{processes}"
            collect(name, path=path, processes=processes, console=QUIET, **settings)
        assert _files(tmp_path / f"{name}1") == _files(tmp_path / f"{name}2")


def test_killed_collection_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("jepawm.collection._PART_EPISODES", 2)
    whole = _collect(tmp_path / "whole", num_episodes=6)
    rolled = []
    real = EpisodeWriter.append

    def die_in_the_third_part(writer: EpisodeWriter, *args: object, **kwargs: object) -> None:
        rolled.append(writer.path)
        if writer.path.name == "0000004":
            raise KeyboardInterrupt
        real(writer, *args, **kwargs)

    path = tmp_path / "store"
    monkeypatch.setattr(EpisodeWriter, "append", die_in_the_third_part)
    with pytest.raises(KeyboardInterrupt):
        _collect(path, num_episodes=6)
    monkeypatch.setattr(EpisodeWriter, "append", real)
    assert sorted(part.name for part in (tmp_path / "store.parts").iterdir()) == [
        "0000000",
        "0000002",
    ]
    before = (tmp_path / "store.parts" / "0000000" / "manifest.json").stat().st_mtime_ns
    (tmp_path / "store.parts" / "0000004.partial-12345678").mkdir()  # what a kill leaves
    with pytest.raises(UserError, match="parts of another collection"):
        _collect(path, num_episodes=6, seed=4)
    assert (tmp_path / "store.parts" / "0000000" / "manifest.json").stat().st_mtime_ns == before
    again = _collect(path, num_episodes=6)
    assert _files(again.path) == _files(whole.path)
    assert not (tmp_path / "store.parts").exists()


def test_episodes_of_different_lengths_and_feedback(tmp_path: Path):
    start = Task(start=(15.0, 15.0), goal=(15.0, 15.0))
    places = [np.full((4, 2), 17.0), np.full((2, 2), 12.0)]
    script = Script(tasks=[start, start], commands=places, feedback=_half_way)
    store = collect_script(
        partial(WallBatch, image_size=32),
        script,
        path=tmp_path / "store",
        environment="wall",
        seed=None,
        settings={},
        console=QUIET,
    )
    assert (store.lengths.tolist(), store.num_actions.tolist()) == ([5, 3], [4, 2])
    assert store.state is not None
    # a step moves by 2 x action: half of the rest of the way each time
    np.testing.assert_allclose(store.state[:5, 0], [15, 16, 16.5, 16.75, 16.875])
    np.testing.assert_allclose(store.state[5:, 0], [15, 13.5, 12.75])


def _half_way(states: np.ndarray, places: np.ndarray) -> np.ndarray:
    return (places - states) / 4


def test_processes_import_nothing_from_the_working_folder(tmp_path: Path):
    """Not even before they take over the path of the process that started them."""
    for name in ("random", "pickle", "numpy", "tempfile"):
        (tmp_path / f"{name}.py").write_text(f"open('{name}_ran', 'w'); raise SystemExit(9)")
    code = (
        "import io\nfrom pathlib import Path\nfrom rich.console import Console\n"
        "from jepawm.collection import collect\n"
        "if __name__ == '__main__':\n"
        "    collect('wall', path=Path('store'), num_episodes=130, num_steps=5, image_size=16,"
        " seed=0, processes=2, console=Console(file=io.StringIO()))\n"
    )
    script = tmp_path / "scripts" / "run.py"
    script.parent.mkdir()
    script.write_text(code)
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not list(tmp_path.glob("*_ran"))
    assert (tmp_path / "store" / "manifest.json").is_file()
