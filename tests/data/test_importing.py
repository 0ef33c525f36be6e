import errno
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jepawm.data.checking import Requirements
from jepawm.data.episodes import open_store
from jepawm.data.formats import open_source
from jepawm.data.importing import Imported, ImportOptions, import_source
from jepawm.data.recording import ReadOptions, Source
from jepawm.errors import UserError

LENGTHS = (6, 9, 7)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three episodes of plain files; frame t of episode e is grey 10 t + e."""
    path = tmp_path / "robot"
    path.mkdir()
    for e, n in enumerate(LENGTHS):
        write_episode(path, e, num_frames=n)
    return path


def write_episode(path: Path, episode: int, *, num_frames: int, **other: np.ndarray) -> None:
    grey = (10 * np.arange(num_frames) + episode).astype(np.uint8)
    arrays = {
        "frames": np.broadcast_to(grey[:, None, None, None], (num_frames, 8, 12, 3)),
        "actions": np.full((num_frames, 2), episode, np.float32),
        "fps": np.array(10.0),
        "task": np.array("wave"),
    }
    np.savez(path / f"{episode}.npz", **(arrays | other))


def run(path: Path, out: Path, *, skip: bool = False, **requirements: object) -> Imported:
    source: Source = open_source(path, name=None, options=ReadOptions())
    return import_source(
        source,
        out,
        options=ImportOptions(image_size=8, skip_bad_episodes=skip),
        requirements=Requirements(**requirements),
        read_options=ReadOptions(),
    )


def test_everything_arrives(folder: Path, tmp_path: Path):
    imported = run(folder, tmp_path / "store")
    store, manifest = imported.store, imported.store.manifest
    assert imported.num_skipped == 0
    assert store.lengths.tolist() == list(LENGTHS)
    assert store.num_actions.tolist() == list(LENGTHS)
    assert store.tasks == ("wave",) * 3
    assert store.frames(np.array([7]))[0, 0, 0, 0] == 11  # frame 1 of episode 1
    assert (manifest.fps, manifest.environment) == (10.0, "robot")
    assert manifest.source is not None
    assert (manifest.source.format, manifest.source.name) == ("npz", "robot")
    assert manifest.source.camera == "frames"
    assert manifest.settings["fit"] == "crop"


def test_the_hash_of_the_source_tells_another_source(folder: Path, tmp_path: Path):
    hashes = []
    for name in ("a", "b", "c"):
        if name == "c":
            write_episode(folder, 0, num_frames=6, task=np.array("point"))
        record = run(folder, tmp_path / name).store.manifest.source
        assert record is not None
        hashes.append(record.sha256)
    assert hashes[0] == hashes[1] != hashes[2]


def test_a_bad_episode_stops_the_import_and_leaves_nothing(folder: Path, tmp_path: Path):
    write_episode(folder, 1, num_frames=9, actions=np.full((9, 2), np.nan, np.float32))
    with pytest.raises(UserError, match=r"1\.npz, episode 1: actions is NaN.*nothing was written"):
        run(folder, tmp_path / "store")
    assert not list(tmp_path.glob("store*"))


def test_bad_episodes_are_skipped_only_when_told_to(folder: Path, tmp_path: Path, caplog):
    write_episode(folder, 1, num_frames=9, actions=np.full((9, 2), np.nan, np.float32))
    caplog.set_level("WARNING", "jepawm")
    imported = run(folder, tmp_path / "store", skip=True)
    assert imported.num_skipped == 1
    assert imported.store.lengths.tolist() == [6, 7]
    assert "left out: " in caplog.text
    assert "1 of 3 episodes were left out" in caplog.text


def test_a_bad_first_episode_does_not_decide_what_the_others_look_like(tmp_path: Path):
    """Its first picture alone has another shape, which shows only when the next one is read."""
    path = tmp_path / "pictures"
    for episode in range(3):
        (path / str(episode)).mkdir(parents=True)
        for frame in range(4):
            size = (5, 9) if (episode, frame) == (0, 0) else (12, 8)
            Image.new("RGB", size, (40 * episode, 50 * frame, 9)).save(
                path / str(episode) / f"{frame}.png"
            )
        (path / f"{episode}.csv").write_text("action_0\n0.1\n0.2\n0.3\n0.4\n")
    imported = run(path, tmp_path / "store", skip=True)
    assert imported.num_skipped == 1
    assert [problem.episode for problem in imported.problems if problem.fatal] == ["episode 0"]


def test_short_episodes_are_bad_if_a_window_is_longer(folder: Path, tmp_path: Path):
    with pytest.raises(UserError, match="6 frames are fewer than the 7 of a window"):
        run(folder, tmp_path / "store", min_frames=7)
    assert run(folder, tmp_path / "store", skip=True, min_frames=7).num_skipped == 1
    with pytest.raises(UserError, match=r"no episode of .* is good"):
        run(folder, tmp_path / "none", skip=True, min_frames=70)
    assert not list(tmp_path.glob("none*"))


def test_fewer_frames_per_second(folder: Path, tmp_path: Path):
    store = run(folder, tmp_path / "store", fps=5.0, combine_actions="sum").store
    assert store.lengths.tolist() == [3, 5, 4]
    assert store.manifest.fps == 5.0
    assert store.actions[store.starts[2]].tolist() == [4, 4]
    assert store.frames(np.array([1]))[0, 0, 0, 0] == 20
    with pytest.raises(UserError, match="does not divide the 10 frames per second"):
        run(folder, tmp_path / "other", fps=4.0)


def test_a_full_disk_is_told_and_never_skipped(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr("jepawm.data.writer.os.write", full)
    with pytest.raises(UserError, match=r"disk is full: .* from its episode 0 on, .* are free"):
        run(folder, tmp_path / "store", skip=True)
    monkeypatch.undo()
    assert not list(tmp_path.glob("store*"))


@pytest.mark.parametrize("size", [0, -3])
def test_frames_without_pixels_are_refused(folder: Path, tmp_path: Path, size: int):
    source = open_source(folder, name=None, options=ReadOptions())
    with pytest.raises(UserError, match=f"--image-size {size}: .*at least 1"):
        import_source(
            source,
            tmp_path / "store",
            options=ImportOptions(image_size=size),
            requirements=Requirements(),
            read_options=ReadOptions(),
        )
    assert not list(tmp_path.glob("store*"))


def test_nothing_is_overwritten(folder: Path, tmp_path: Path):
    run(folder, tmp_path / "store")
    with pytest.raises(UserError, match="exists already"):
        run(folder, tmp_path / "store")
    open_store(tmp_path / "store").verify()


def test_long_episodes_are_cut_into_pieces(folder: Path, tmp_path: Path):
    source = open_source(folder, name=None, options=ReadOptions())
    imported = import_source(
        source,
        tmp_path / "store",
        options=ImportOptions(image_size=8, cut_frames=3),
        requirements=Requirements(),
        read_options=ReadOptions(),
    )
    assert imported.store.lengths.tolist() == [3, 3, 3, 3, 3, 4, 3]
    assert imported.store.num_actions.tolist() == [3, 3, 3, 3, 3, 4, 3]
    assert imported.store.frames(np.array([3]))[0, 0, 0, 0] == 30  # frame 3 of episode 0
    assert imported.store.actions[6].tolist() == [1, 1]
    with pytest.raises(UserError, match="--cut-frames 1: pieces need at least 2 frames"):
        import_source(
            source,
            tmp_path / "other",
            options=ImportOptions(image_size=8, cut_frames=1),
            requirements=Requirements(),
            read_options=ReadOptions(),
        )
