import errno
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from jepawm.data.episodes import open_store
from jepawm.data.writer import ArrayFile, EpisodeWriter
from jepawm.errors import UserError


def _writer(path: Path, **options: int) -> EpisodeWriter:
    return EpisodeWriter(path, environment="toy", image_size=4, settings={}, **options)


def _append(writer: EpisodeWriter, arrays: dict[str, np.ndarray]) -> None:
    writer.append(
        arrays["pixels"], arrays["actions"], proprio=arrays["proprio"], state=arrays["state"]
    )


def _write(
    path: Path,
    *episodes: dict[str, np.ndarray],
    at_start: Callable[[], object] = bool,
    at_end: Callable[[], object] = bool,
) -> None:
    with _writer(path) as writer:
        at_start()
        for arrays in episodes:
            _append(writer, arrays)
        at_end()


def _files(path: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in path.iterdir()}


def test_same_episodes_give_same_bytes(tmp_path: Path, make_episode):
    for name in ("one", "two"):
        _write(tmp_path / name, make_episode(0, 5), make_episode(1, 3))
    assert _files(tmp_path / "one") == _files(tmp_path / "two")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "two"]


def test_as_many_actions_as_frames_are_all_real(tmp_path: Path, make_episode):
    arrays = make_episode(0, 3)
    actions = np.array([[1, 0], [2, 0], [6, 0]], dtype=np.float32)
    _write(tmp_path / "store", {**arrays, "actions": actions})
    store = open_store(tmp_path / "store")
    assert store.num_actions.tolist() == [3]
    assert np.array_equal(store.actions, actions)
    assert store.manifest.statistics.action_mean == [3.0, 0.0]
    assert store.manifest.statistics.action_std == pytest.approx([7**0.5, 0.0])


def test_constant_columns_have_std_zero_and_normalize_by_one(tmp_path: Path, make_episode):
    actions = np.full((7, 2), 0.1, dtype=np.float32)
    _write(tmp_path / "store", {**make_episode(0, 8), "actions": actions})
    store = open_store(tmp_path / "store")
    assert store.manifest.statistics.action_std == [0.0, 0.0]
    assert store.normalizer().action_std.tolist() == [1.0, 1.0]


def test_proprio_and_state_are_optional(tmp_path: Path, make_episode):
    arrays = make_episode(0, 5)
    with _writer(tmp_path / "store") as writer:
        writer.append(arrays["pixels"], arrays["actions"])
    store = open_store(tmp_path / "store")
    assert store.proprio is None
    assert store.state is None
    assert store.normalizer().proprio_mean is None


def test_an_existing_store_is_kept(store_path: Path):
    before = _files(store_path)
    with pytest.raises(UserError, match="exists already"):
        _writer(store_path)
    assert _files(store_path) == before


def test_a_store_that_appears_meanwhile_is_kept(tmp_path: Path, make_episode):
    path = tmp_path / "store"

    def someone_else() -> None:
        path.mkdir()
        (path / "precious").write_text("")

    with pytest.raises(UserError, match="appeared during the run"):
        _write(path, make_episode(0, 5), at_end=someone_else)
    assert [file.name for file in path.iterdir()] == ["precious"]
    (finished,) = tmp_path.glob("store.partial-*")
    open_store(finished).verify()


def test_an_empty_folder_is_used(tmp_path: Path, make_episode):
    (tmp_path / "store").mkdir()
    _write(tmp_path / "store", make_episode(0, 5))
    assert len(open_store(tmp_path / "store")) == 1


@pytest.mark.parametrize("column", ["actions", "proprio", "state"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_is_refused_and_nothing_left(tmp_path: Path, make_episode, column: str, value: float):
    bad = make_episode(1, 6)[column].copy()
    bad[3, 1] = value
    with pytest.raises(UserError, match=rf"episode 1 .*{column} is NaN or infinite at step 3"):
        _write(tmp_path / "store", make_episode(0, 6), {**make_episode(1, 6), column: bad})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pixels": np.zeros((6, 3, 5, 5), np.uint8)}, r"\(6, 3, 5, 5\); expected .*\(3, 4, 4\)"),
        ({"actions": np.zeros((4, 2), np.float32)}, r"actions has shape \(4, 2\), expected 5 rows"),
        ({"state": np.zeros((5, 2))}, r"state has shape \(5, 2\), expected 6 rows"),
        ({"actions": np.zeros((5, 3), np.float32)}, "column widths"),
        ({"proprio": None}, "column widths"),
    ],
)
def test_shapes_that_disagree_are_refused(tmp_path: Path, make_episode, changes, message: str):
    with pytest.raises(UserError, match=message):
        _write(tmp_path / "store", make_episode(0, 6), {**make_episode(1, 6), **changes})
    assert list(tmp_path.iterdir()) == []


def test_no_episode_is_an_error(tmp_path: Path):
    with pytest.raises(UserError, match="no episode"), _writer(tmp_path / "store"):
        pass
    assert list(tmp_path.iterdir()) == []


def _fill_disk(monkeypatch: pytest.MonkeyPatch, room: int) -> None:
    """Let files take `room` bytes, the last write in part, and then fail as a full disk does."""
    write, left = os.write, [room]

    def limited(descriptor: int, data: memoryview) -> int:
        if left[0] == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = write(descriptor, data[: left[0]])
        left[0] -= written
        return written

    monkeypatch.setattr(os, "write", limited)


@pytest.mark.parametrize("room", [0, 100, 700, 1100])
def test_full_disk_names_path_and_bytes_and_leaves_nothing(
    tmp_path: Path, make_episode, monkeypatch: pytest.MonkeyPatch, room: int
):
    episodes = [make_episode(episode, 6) for episode in range(4)]
    with pytest.raises(
        UserError,
        match=r"disk is full: .*store needs [\d,]+ more bytes from its episode \d on, [\d,]+",
    ):
        _write(tmp_path / "store", *episodes, at_start=lambda: _fill_disk(monkeypatch, room))
    assert list(tmp_path.iterdir()) == []


def test_full_disk_at_the_end(tmp_path: Path, make_episode, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(UserError, match="disk is full"):
        _write(tmp_path / "store", make_episode(0, 6), at_end=lambda: _fill_disk(monkeypatch, 0))
    assert list(tmp_path.iterdir()) == []


def test_too_small_a_disk_is_refused_before_writing(tmp_path: Path):
    with pytest.raises(UserError, match=r"needs 48,000,000,000,000,000 more bytes"):
        _writer(tmp_path / "store", expected_frames=10**15)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_interruption_leaves_nothing(tmp_path: Path, make_episode, error: type[BaseException]):
    def interrupt() -> None:
        raise error

    with pytest.raises(error):
        _write(tmp_path / "store", make_episode(0, 6), at_end=interrupt)
    assert list(tmp_path.iterdir()) == []


def test_killed_writer_leaves_a_recognisable_folder(
    tmp_path: Path, make_episode: Callable, caplog: pytest.LogCaptureFixture
):
    program = (
        "import os, signal, sys, numpy as np; from pathlib import Path\n"
        "from jepawm.data.writer import EpisodeWriter\n"
        "with EpisodeWriter(Path(sys.argv[1]), environment='x', image_size=4, settings={}) as w:\n"
        "    w.append(np.zeros((3, 3, 4, 4), np.uint8), np.zeros((2, 1), np.float32))\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    path = tmp_path / "store"
    result = subprocess.run([sys.executable, "-c", program, str(path)], check=False)
    assert result.returncode == -signal.SIGKILL
    with pytest.raises(UserError, match="never finished"):
        open_store(path)
    with caplog.at_level(logging.WARNING):
        _write(path, make_episode(0, 6))
    assert "left from an interrupted run" in caplog.text
    assert len(open_store(path)) == 1


@pytest.mark.parametrize(("row_shape", "dtype"), [((3, 4, 4), "|u1"), ((2,), "<f8"), ((), "<f4")])
def test_numpy_reads_what_was_appended(tmp_path: Path, row_shape: tuple[int, ...], dtype: str):
    generator = np.random.default_rng(0)
    parts = [generator.integers(0, 100, (n, *row_shape)).astype(dtype) for n in (3, 0, 12345)]
    file = ArrayFile(tmp_path / "a.npy", row_shape=row_shape, dtype=dtype)
    for part in parts:
        file.append(part)
    file.close()
    loaded = np.load(tmp_path / "a.npy", mmap_mode="r")
    assert loaded.dtype.str == dtype
    assert np.array_equal(loaded, np.concatenate(parts))


def test_a_file_goes_on_after_the_rows_that_are_kept(tmp_path: Path):
    path = tmp_path / "a.npy"
    rows = np.arange(10, dtype="<f4").reshape(5, 2)
    file = ArrayFile(path, row_shape=(2,), dtype="<f4")
    file.append(rows)
    file.flush()
    file.discard()
    file = ArrayFile(path, row_shape=(2,), dtype="<f4", keep_rows=3)
    file.append(rows[:1])
    file.close()
    assert np.array_equal(np.load(path), rows[[0, 1, 2, 0]])
    with pytest.raises(UserError, match="lost rows: 5 were written"):
        ArrayFile(path, row_shape=(2,), dtype="<f4", keep_rows=5)


def test_values_are_cast(tmp_path: Path):
    file = ArrayFile(tmp_path / "a.npy", row_shape=(1,), dtype="<f4")
    file.append(np.array([[0.1]]))
    file.close()
    assert np.load(tmp_path / "a.npy")[0, 0] == np.float32(0.1)


def test_wrong_rows_are_refused(tmp_path: Path):
    file = ArrayFile(tmp_path / "a.npy", row_shape=(2,), dtype="<f4")
    with pytest.raises(ValueError, match="expected"):
        file.append(np.zeros((1, 3)))
    file.discard()
