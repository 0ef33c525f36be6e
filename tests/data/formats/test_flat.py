from pathlib import Path

import numpy as np
import pytest

from jepawm.data.checking import Requirements
from jepawm.data.formats import open_source
from jepawm.data.formats.flat import find_pieces
from jepawm.data.importing import check_source
from jepawm.data.recording import ReadOptions, Source
from jepawm.errors import UserError

FILE = Path("a.npz")


def marks(*rows: int, count: int = 9) -> np.ndarray:
    return np.isin(np.arange(count), rows)


CUTS: dict[str, tuple[dict[str, np.ndarray], list[int]]] = {
    "last steps": ({"terminals": marks(3, 8)}, [4, 9]),
    "floats in a column": ({"timeouts": marks(3, 8).astype(np.float32)[:, None]}, [4, 9]),
    "either": ({"terminals": marks(3), "timeouts": marks(5)}, [4, 6, 9]),
    "the end is open": ({"dones": marks(3)}, [4, 9]),
    "first steps": ({"is_first": marks(0, 4)}, [4, 9]),
    "ends": ({"episode_ends": np.array([4, 6, 9])}, [4, 6, 9]),
    "ends from 0": ({"episode_ends": np.array([0, 4, 9])}, [4, 9]),
    "one end": ({"episode_ends": np.array([9])}, [9]),
    "lengths": ({"episode_lengths": np.array([4, 5])}, [4, 9]),
    "labels": ({"episode_index": np.array([7] * 4 + [2] * 5)}, [4, 9]),
    "texts": ({"episode_id": np.array(["a"] * 4 + ["b"] * 5)}, [4, 9]),
    "none": ({"terminals": marks()}, [9]),
}


@pytest.mark.parametrize("name", CUTS)
def test_episodes_end_where_an_array_says(name: str):
    arrays, ends = CUTS[name]
    pieces = find_pieces(arrays, file=FILE)
    assert pieces is not None
    assert [rows.stop for rows in pieces.rows] == ends
    assert [rows.start for rows in pieces.rows] == [0, *ends[:-1]]
    assert set(pieces.names) == set(arrays)


def test_what_says_nothing_cuts_nothing():
    arrays = {"done": np.array(1), "rewards": np.zeros(9), "episode_id": np.array(3)}
    assert find_pieces(arrays, file=FILE) is None


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"terminals": np.full(9, 0.5)}, "terminals holds more than 0 and 1"),
        ({"terminals": np.full(9, np.nan)}, "terminals holds float64, it does not say"),
        ({"episode_ends": np.array([4, 4, 9])}, "episode_ends does not rise"),
        ({"episode_lengths": np.array([4, -1])}, "episode_lengths does not rise"),
        ({"terminals": marks(3), "episode_ends": np.array([4])}, "episode_ends counts 4 rows"),
    ],
)
def test_arrays_that_contradict_are_named(arrays: dict[str, np.ndarray], message: str):
    with pytest.raises(UserError, match=message):
        find_pieces(arrays, file=FILE)


def source(path: Path, **options: str) -> Source:
    return open_source(path, name=None, options=ReadOptions(**options))


def flat(frames: np.ndarray, **arrays: np.ndarray) -> dict[str, np.ndarray]:
    """Nine frames and what goes with them, as OGBench names them."""
    rows = np.arange(9, dtype=np.float32)
    return {"observations": frames, "actions": np.stack([rows, -rows], 1)} | arrays


def test_a_flat_file_is_cut_and_says_so(tmp_path: Path, make_frames):
    frames = make_frames(0, 9)
    arrays = flat(frames, terminals=marks(3, 8), next_observations=frames)
    np.savez(tmp_path / "play-v0.npz", **arrays)
    np.savez(tmp_path / "play-v0-val.npz", **arrays)
    opened = source(tmp_path)
    assert opened.notes == [
        "left out play-v0-val.npz: validation; import it by its own path",
        "play-v0.npz is cut into 2 episodes by terminals",
    ]
    read = [episode.read() for episode in opened.episodes]
    assert [one.num_frames for one in read] == [4, 5]
    assert np.array_equal(read[1].actions, arrays["actions"][4:])
    assert np.array_equal(np.stack(list(read[1].frames())), frames[4:])
    assert len(source(tmp_path / "play-v0-val.npz").episodes) == 2


def test_marks_of_each_action_of_one_episode_are_fine(tmp_path: Path, make_frames):
    arrays = {"frames": make_frames(0, 9), "actions": np.ones((8, 2), np.float32)}
    np.savez(tmp_path / "a.npz", **arrays, dones=marks(7, count=8))
    (one,) = source(tmp_path).episodes
    assert one.read().num_frames == 9


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"terminals": marks(3, count=8)}, r"terminals counts 8 rows, there are 9 frames"),
        (
            {"terminals": marks(3, 8), "actions": np.ones((8, 2))},
            r"actions has 8 rows for 9 frames of several episodes \(terminals\)",
        ),
        ({"terminals": np.full(9, 2)}, "terminals holds more than 0 and 1"),
    ],
)
def test_what_cannot_be_cut_is_refused_by_name(
    tmp_path: Path, make_frames, arrays: dict[str, np.ndarray], message: str
):
    np.savez(tmp_path / "a.npz", **flat(make_frames(0, 9), **arrays))
    problems = [one for one in check_source(source(tmp_path), Requirements()) if one.fatal]
    assert problems
    with pytest.raises(UserError, match=message):
        raise UserError(problems[0].message)
