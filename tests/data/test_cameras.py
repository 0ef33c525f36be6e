from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from jepawm.data.checking import Requirements
from jepawm.data.episodes import EpisodeStore, open_store
from jepawm.data.exporting import ExportOptions, export_store
from jepawm.data.formats import open_source
from jepawm.data.importing import ImportOptions, check_source, import_source
from jepawm.data.joining import join_stores
from jepawm.data.recording import ReadOptions, Source
from jepawm.errors import UserError

READ = ReadOptions(camera="left,right")


def make_frames(seed: int, length: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (length, 32, 32, 3), dtype=np.uint8)


def make_numbers(seed: int, length: int, width: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(length, width))


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    """Two episodes of two cameras."""
    for episode, length in enumerate((5, 4)):
        folder = tmp_path / "recorded"
        folder.mkdir(exist_ok=True)
        np.savez(
            folder / f"{episode}.npz",
            left=make_frames(2 * episode, length),
            right=make_frames(2 * episode + 1, length),
            actions=make_numbers(episode, length - 1, 2),
        )
    return folder


def imported(source: Source, out: Path, **options) -> EpisodeStore:
    return import_source(
        source,
        out,
        options=ImportOptions(image_size=32, **options),
        requirements=Requirements(),
        read_options=READ,
    ).store


@pytest.mark.parametrize("pixels", ["raw", "jpeg"])
def test_a_frame_has_a_picture_of_each_camera(recorded: Path, tmp_path: Path, pixels):
    source = open_source(recorded, name=None, options=READ)
    assert (source.camera, source.views) == ("left,right", ("left", "right"))
    assert check_source(source, Requirements()) == []
    store = imported(source, tmp_path / "store", pixels=pixels)
    store.verify()
    assert store.cameras == ("left", "right")
    if pixels == "raw":
        assert store.pixels.shape == (9, 2, 3, 32, 32)
    rows = np.array([[0, 6]])
    both = store.frames(rows)
    assert both.shape == (1, 2, 3, 64, 32)
    for at, name in enumerate(("left", "right")):
        alone = imported(
            open_source(recorded, name=None, options=replace(READ, camera=name)),
            tmp_path / name,
            pixels=pixels,
        )
        np.testing.assert_array_equal(both[..., 32 * at : 32 * at + 32, :], alone.frames(rows))
        np.testing.assert_array_equal(store.with_cameras([name]).frames(rows), alone.frames(rows))


def test_all_stands_for_all_cameras(recorded: Path):
    source = open_source(recorded, name=None, options=ReadOptions(camera="all"))
    assert source.views == ("left", "right")


@pytest.mark.parametrize(
    ("camera", "told"),
    [
        ("left,side", "has no camera 'side'; by --camera choose among: left, right"),
        ("left,left", "name each camera once"),
        ("left,", "name each camera once"),
    ],
)
def test_wrong_names_list_the_right_ones(recorded: Path, camera: str, told: str):
    with pytest.raises(UserError, match=told):
        open_source(recorded, name=None, options=ReadOptions(camera=camera))


def test_a_camera_with_fewer_frames_is_a_problem(recorded: Path):
    np.savez(
        recorded / "1.npz",
        left=make_frames(0, 4),
        right=make_frames(1, 3),
        actions=make_numbers(1, 3, 2),
    )
    problems = check_source(open_source(recorded, name=None, options=READ), Requirements())
    assert [one.episode for one in problems] == ["episode 1"]


def test_cameras_of_another_size_in_one_episode_are_a_problem(recorded: Path):
    np.savez(
        recorded / "1.npz",
        left=make_frames(0, 4),
        right=make_frames(1, 4)[:, :20],
        actions=make_numbers(1, 3, 2),
    )
    problems = check_source(open_source(recorded, name=None, options=READ), Requirements())
    assert "right have shape (20, 32), those of episode 0 have (32, 32)" in problems[0].message


def test_every_kth_frame_of_both_cameras_is_kept(recorded: Path, tmp_path: Path):
    for file in recorded.glob("*.npz"):
        np.savez(file, **np.load(file), fps=np.array(20.0))
    store = import_source(
        open_source(recorded, name=None, options=READ),
        tmp_path / "store",
        options=ImportOptions(image_size=32),
        requirements=Requirements(fps=10.0, combine_actions="concat"),
        read_options=READ,
    ).store
    assert store.pixels.shape == (5, 2, 3, 32, 32)


def test_stores_of_the_same_cameras_join_and_others_do_not(recorded: Path, tmp_path: Path):
    store = imported(open_source(recorded, name=None, options=READ), tmp_path / "a")
    joined = join_stores([store.path, store.path], tmp_path / "joined")
    assert joined.cameras == ("left", "right")
    np.testing.assert_array_equal(joined.frames(np.arange(9, 18)), store.frames(np.arange(9)))
    left = open_source(recorded, name=None, options=ReadOptions(camera="left"))
    with pytest.raises(UserError, match="only stores that agree can be joined"):
        join_stores([store.path, imported(left, tmp_path / "left").path], tmp_path / "no")


def test_what_takes_one_camera_says_so(recorded: Path, tmp_path: Path):
    store = imported(open_source(recorded, name=None, options=READ), tmp_path / "a")
    with pytest.raises(UserError, match=r"holds several cameras \(left, right\), and an export"):
        export_store(store, tmp_path / "out", format_name="npz", options=ExportOptions())
    with pytest.raises(UserError, match="has no camera 'top'; choose among: left, right"):
        store.with_cameras(["top"])


def test_a_store_of_one_camera_is_written_as_before(recorded: Path, tmp_path: Path):
    left = open_source(recorded, name=None, options=ReadOptions(camera="left"))
    store = imported(left, tmp_path / "left")
    assert "cameras" not in (store.path / "manifest.json").read_text()
    assert open_store(store.path).cameras == ()
    with pytest.raises(UserError, match="holds one camera; leave left out"):
        store.with_cameras(["left"])
