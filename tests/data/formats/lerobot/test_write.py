"""A store goes out to LeRobot and comes back the same.

The package `lerobot` itself opened such data sets once (docs/your_data.md says which version).
"""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from jepawm.data.checking import Requirements
from jepawm.data.episodes import EpisodeStore, open_store
from jepawm.data.exporting import EXPORTERS, ExportOptions, export_store
from jepawm.data.formats import open_source
from jepawm.data.formats.lerobot import write
from jepawm.data.importing import ImportOptions, check_source, import_source
from jepawm.data.manifest import ImportedFrom
from jepawm.data.recording import ReadOptions
from jepawm.data.writer import EpisodeWriter
from jepawm.errors import UserError

LENGTHS = (5, 8, 4)
TASKS = ("push", "pull the lever", "push")
SIDE = 32


@pytest.fixture
def store(tmp_path: Path, make_frames, make_numbers) -> EpisodeStore:
    """Return a store with one action less than frames in episode 1."""
    path = tmp_path / "store"
    with EpisodeWriter(path, environment="arm", image_size=SIDE, settings={}, fps=10.0) as writer:
        for episode, length in enumerate(LENGTHS):
            writer.append(
                make_frames(episode, length).transpose(0, 3, 1, 2),
                make_numbers(episode, length, 2)[: length - (episode == 1)],
                proprio=make_numbers(episode, length, 3),
                state=make_numbers(episode, length, 4).astype(np.float64) / 3,
                task=TASKS[episode],
            )
    return open_store(path)


def come_back(store: EpisodeStore, folder: Path, name: str, **options: object) -> EpisodeStore:
    export_store(store, folder / "out", format_name=name, options=ExportOptions(**options))
    read_options = ReadOptions()
    source = open_source(folder / "out", name=None, options=read_options)
    assert check_source(source, Requirements()) == []
    imported = import_source(
        source,
        folder / "back",
        options=ImportOptions(image_size=SIDE),
        requirements=Requirements(),
        read_options=read_options,
    )
    return imported.store


# Minari keeps one action less than frames; its own tests compare it with what comes back.
@pytest.mark.parametrize("name", [one for one in EXPORTERS.names() if one != "minari"])
@pytest.mark.parametrize("images", ["video", "png"])
def test_round_trip(store: EpisodeStore, tmp_path: Path, name: str, images: str):
    back = come_back(store, tmp_path, name, images=images)
    for column in ("lengths", "num_actions", "actions", "proprio", "state"):
        before, after = getattr(store, column), getattr(back, column)
        assert before.dtype == after.dtype
        assert np.array_equal(before, after)
    assert back.tasks == TASKS
    assert back.manifest.fps == 10
    assert back.manifest.statistics == store.manifest.statistics
    error = np.abs(np.asarray(store.pixels).astype(int) - np.asarray(back.pixels))
    assert error.max() == 0 if images == "png" or name == "npz" else error.mean() < 3


def test_many_episodes_share_files(store: EpisodeStore, tmp_path: Path):
    export_store(store, tmp_path / "out", format_name="lerobot", options=ExportOptions())
    files = sorted(
        str(path.relative_to(tmp_path / "out"))
        for path in (tmp_path / "out").rglob("*")
        if path.is_file()
    )
    assert files == [
        "data/chunk-000/file-000.parquet",
        "meta/episodes/chunk-000/file-000.parquet",
        "meta/info.json",
        "meta/stats.json",
        "meta/tasks.parquet",
        "videos/observation.images.camera/chunk-000/file-000.mp4",
    ]
    table = pq.read_table(tmp_path / "out" / "meta/episodes/chunk-000/file-000.parquet")
    assert table["dataset_from_index"].to_pylist() == [0, 5, 13]
    key = "videos/observation.images.camera"
    assert table[f"{key}/from_timestamp"].to_pylist() == pytest.approx([0, 0.5, 1.3])


def test_full_files_are_followed_by_others(
    store: EpisodeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(write, "_DATA_MB", 1e-9)
    monkeypatch.setattr(write, "_VIDEO_MB", 1e-9)
    back = come_back(store, tmp_path, "lerobot")
    assert len(list((tmp_path / "out").rglob("file-*.mp4"))) == len(LENGTHS)
    assert len(list((tmp_path / "out" / "data").rglob("*.parquet"))) == len(LENGTHS)
    assert np.array_equal(store.actions, back.actions)


def test_info_and_statistics(store: EpisodeStore, tmp_path: Path):
    export_store(store, tmp_path / "out", format_name="lerobot", options=ExportOptions())
    info = json.loads((tmp_path / "out/meta/info.json").read_text())
    assert (info["codebase_version"], info["fps"], info["total_frames"]) == ("v3.0", 10, 17)
    assert info["total_tasks"] == 2
    assert info["features"]["action"] == {"dtype": "float32", "shape": [2], "names": None}
    assert info["features"]["observation.environment_state"]["dtype"] == "float64"
    stats = json.loads((tmp_path / "out/meta/stats.json").read_text())
    assert store.proprio is not None
    expected = store.proprio.mean(axis=0, dtype=np.float64)
    assert stats["observation.state"]["mean"] == pytest.approx(expected)
    assert stats["observation.state"]["std"] == pytest.approx(store.proprio.std(axis=0))
    assert np.shape(stats["observation.images.camera"]["mean"]) == (3, 1, 1)


def test_unknown_rate_format_and_taken_folder(store: EpisodeStore, tmp_path: Path):
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "mine").write_text("kept")
    with pytest.raises(UserError, match="taken exists already"):
        export_store(store, tmp_path / "taken", format_name="lerobot", options=ExportOptions())
    with pytest.raises(UserError, match=r"unknown export format 'hdf5'.*lerobot, .*npz"):
        export_store(store, tmp_path / "out", format_name="hdf5", options=ExportOptions())
    with EpisodeWriter(tmp_path / "b", environment="a", image_size=SIDE, settings={}) as writer:
        writer.append(np.zeros((2, 3, SIDE, SIDE), np.uint8), np.zeros((1, 1), np.float32))
    with pytest.raises(UserError, match="does not know its frames per second; give --fps"):
        export_store(
            open_store(tmp_path / "b"),
            tmp_path / "out",
            format_name="lerobot",
            options=ExportOptions(),
        )
    assert not list(tmp_path.glob("out*"))


@pytest.mark.parametrize("fps", [0.0, -3.0, float("nan"), float("inf"), 1e-9, 1e9])
def test_rates_that_no_video_has(store: EpisodeStore, tmp_path: Path, fps: float):
    for name in ("lerobot", "lerobot-v2.1"):
        with pytest.raises(UserError, match=r"frames per second cannot be written; give --fps"):
            export_store(store, tmp_path / "out", format_name=name, options=ExportOptions(fps=fps))
    assert not list(tmp_path.glob("out*"))


@pytest.mark.parametrize("camera", ["a\0b", "a\x1b[2J", "x" * 300])
def test_a_camera_that_names_no_folder(tmp_path: Path, camera: str):
    source = ImportedFrom(format="minari", name="a", sha256="0" * 64, camera=camera)
    path = tmp_path / "store"
    with EpisodeWriter(
        path, environment="a", image_size=SIDE, settings={}, fps=10.0, source=source
    ) as writer:
        writer.append(np.zeros((2, 3, SIDE, SIDE), np.uint8), np.ones((1, 1), np.float32))
    with pytest.raises(UserError, match="cannot name a folder of videos; rename it"):
        export_store(
            open_store(path), tmp_path / "out", format_name="lerobot", options=ExportOptions()
        )
