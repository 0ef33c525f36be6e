from pathlib import Path

import gymnasium
import numpy as np
import pytest

from jepawm.data.checking import Requirements
from jepawm.data.episodes import EpisodeStore, open_store
from jepawm.data.exporting import ExportOptions, export_store
from jepawm.data.formats import open_source
from jepawm.data.importing import ImportOptions, import_source
from jepawm.data.recording import ReadOptions
from jepawm.data.writer import EpisodeWriter

minari = pytest.importorskip("minari")
SIZE = 32  # Minari takes smaller ones for no pictures


def write(path: Path, *, environment: str = "wall", proprio: bool = True) -> EpisodeStore:
    """Write two episodes of 4 and 6 frames with numbers that no rounding leaves alone."""
    generator = np.random.default_rng(0)
    with EpisodeWriter(
        path, environment=environment, image_size=SIZE, settings={}, seed=0
    ) as writer:
        for length in (4, 6):
            writer.append(
                generator.integers(0, 256, (length, 3, SIZE, SIZE), dtype=np.uint8),
                generator.normal(size=(length - 1, 2)).astype(np.float32),
                proprio=generator.normal(size=(length, 2)).astype(np.float32) if proprio else None,
                state=generator.normal(size=(length, 2)),
            )
    return open_store(path)


@pytest.fixture
def store(tmp_path: Path) -> EpisodeStore:
    return write(tmp_path / "store")


def export(store: EpisodeStore, out: Path) -> Path:
    export_store(store, out, format_name="minari", options=ExportOptions())
    return out


def test_minari_reads_every_number(store: EpisodeStore, tmp_path: Path):
    dataset = minari.MinariDataset(export(store, tmp_path / "walls-v3") / "data")
    assert (dataset.id, dataset.total_episodes, dataset.total_steps) == ("walls-v3", 2, 8)
    row = 0
    for episode in dataset:
        length = len(episode.rewards)
        frames = np.arange(row, row + length + 1)
        assert store.proprio is not None
        assert store.state is not None
        np.testing.assert_array_equal(episode.observations["pixels"], store.frames(frames))
        np.testing.assert_array_equal(episode.observations["proprio"], store.proprio[frames])
        np.testing.assert_array_equal(episode.infos["state"], store.state[frames])
        np.testing.assert_array_equal(episode.actions, store.actions[frames[:-1]])
        assert episode.observations["pixels"].dtype == np.uint8
        assert episode.truncations.tolist() == [False] * (length - 1) + [True]
        row += length + 1


def test_its_environment_is_recovered(store: EpisodeStore, tmp_path: Path):
    dataset = minari.MinariDataset(export(store, tmp_path / "walls") / "data")
    assert dataset.id == "walls-v0"
    env = dataset.recover_environment()
    assert env.spec is not None
    assert (env.spec.id, env.spec.max_episode_steps) == ("jepawm/Wall-v0", 50)
    assert env.observation_space == dataset.observation_space
    obs, _ = env.reset(seed=0)
    assert obs["pixels"].shape == (3, SIZE, SIZE)
    assert gymnasium.spec("jepawm/Wall-v0").kwargs == {"env": "wall"}  # left as it is
    env.close()


def test_found_by_its_name(store: EpisodeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    export(store, tmp_path / "walls-v0")
    assert minari.load_dataset("walls-v0").total_episodes == 2


@pytest.mark.parametrize("proprio", [False, True])
def test_read_back_bit_for_bit(tmp_path: Path, proprio: bool):
    store = write(tmp_path / "store", environment="my_robot", proprio=proprio)
    out = export(store, tmp_path / "mine-v0")
    again = import_source(
        open_source(out, name=None, options=ReadOptions()),
        tmp_path / "again",
        options=ImportOptions(image_size=SIZE),
        requirements=Requirements(),
        read_options=ReadOptions(),
    ).store
    rows = np.arange(10)
    np.testing.assert_array_equal(again.frames(rows), store.frames(rows))
    np.testing.assert_array_equal(again.actions, store.actions)
    np.testing.assert_array_equal(again.state, store.state)
    if proprio:
        np.testing.assert_array_equal(again.proprio, store.proprio)
    assert again.lengths.tolist() == store.lengths.tolist()
    assert (again.proprio is None) == (not proprio)
    assert minari.MinariDataset(out / "data").env_spec is None
