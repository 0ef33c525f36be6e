import errno
import logging
import os
import threading
from pathlib import Path

import pytest

from jepawm.errors import UserError
from jepawm.files import (
    alone,
    cache_folder,
    complete_or_absent,
    data_root,
    expand_user,
    flush_to_disk,
    free_bytes,
    hash_file,
    is_only_mine,
    private_cache,
    remove_leftovers,
    require_free,
    require_free_bytes,
    taken,
    telling_full_disk,
    write_together,
    write_whole,
)


def test_a_file_is_replaced_as_a_whole_and_nothing_else_remains(tmp_path: Path):
    write_whole(tmp_path / "a.json", "old")
    write_whole(tmp_path / "a.json", "né".encode())
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError):
        write_whole(tmp_path / "folder", "new")
    assert {path.name for path in tmp_path.iterdir()} == {"a.json", "folder"}
    assert (tmp_path / "a.json").read_text(encoding="utf-8") == "né"


def test_a_hash_is_sha256(tmp_path: Path):
    (tmp_path / "a").write_bytes(b"abc")
    assert hash_file(tmp_path / "a").startswith("ba7816bf8f01cfea414140de5dae2223b00361a3")


def test_files_and_folders_are_flushed(tmp_path: Path):
    (tmp_path / "a").write_bytes(b"abc")
    flush_to_disk(tmp_path / "a")
    flush_to_disk(tmp_path)


def test_it_appears_when_it_is_complete(tmp_path: Path):
    path = tmp_path / "deep" / "out"
    with complete_or_absent(path) as folder:
        (folder / "a").write_text("1")
        assert not path.exists()
    assert (path / "a").read_text() == "1"
    assert list(path.parent.iterdir()) == [path]


def test_an_error_leaves_nothing(tmp_path: Path):
    def interrupted() -> None:
        with complete_or_absent(tmp_path / "out") as folder:
            (folder / "a").write_text("1")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not list(tmp_path.iterdir())


def test_what_exists_is_kept_and_an_empty_folder_is_free(tmp_path: Path):
    (tmp_path / "out").mkdir()
    with complete_or_absent(tmp_path / "out") as folder:
        (folder / "a").write_text("1")
    with pytest.raises(UserError, match="out exists already"):
        with complete_or_absent(tmp_path / "out"):
            pass
    assert (tmp_path / "out" / "a").read_text() == "1"


def test_argument_then_variable_then_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("JEPAWM_DATA", str(tmp_path / "variable"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert data_root(tmp_path / "argument") == tmp_path / "argument"
    assert data_root(None) == tmp_path / "variable"
    monkeypatch.delenv("JEPAWM_DATA")
    assert data_root(None) == tmp_path / "cache" / "jepawm"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert data_root(None) == tmp_path / ".cache" / "jepawm"
    monkeypatch.setattr("sys.platform", "darwin")
    assert data_root(None) == tmp_path / "Library" / "Caches" / "jepawm"


def test_home_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("JEPAWM_DATA", "~/sets")
    assert data_root(None) == tmp_path / "sets"


def test_only_a_full_disk_becomes_a_message(tmp_path: Path):
    with pytest.raises(UserError, match=r"needs 1,234 more bytes"):
        with telling_full_disk(tmp_path / "deep" / "store", num_bytes=1234):
            raise OSError(errno.ENOSPC, "full")
    with pytest.raises(UserError, match=r"needs 5 more bytes from episode 3 on"):
        with telling_full_disk(tmp_path, num_bytes=5, since="episode 3"):
            raise OSError(errno.EDQUOT, "quota")
    with pytest.raises(UserError, match=r"a file below .* larger than .* allows; .*another disk"):
        with telling_full_disk(tmp_path, num_bytes=5):
            raise OSError(errno.EFBIG, "too large")
    with pytest.raises(PermissionError), telling_full_disk(tmp_path, num_bytes=1):
        raise PermissionError(errno.EACCES, "no")


def test_require_free_bytes(tmp_path: Path):
    require_free_bytes(tmp_path, num_bytes=1)
    with pytest.raises(UserError, match="disk is full"):
        require_free_bytes(tmp_path, num_bytes=10**18)
    assert free_bytes(tmp_path / "not" / "yet") > 0


def test_a_relative_cache_folder_is_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "cache")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache"


def test_code_is_kept_where_nobody_else_can_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = private_cache("kernels")
    assert folder == tmp_path / "jepawm" / "kernels"
    assert folder.stat().st_mode & 0o777 == 0o700
    for place in (tmp_path, folder.parent, folder):
        before = place.stat().st_mode
        place.chmod(0o1777)
        other = private_cache("kernels")
        assert not other.is_relative_to(tmp_path)
        assert other.stat().st_mode & 0o777 == 0o700
        place.chmod(before)
    assert private_cache("kernels") == folder


def test_a_link_or_a_file_of_another_user_is_not_mine(tmp_path: Path):
    file, link = tmp_path / "file", tmp_path / "link"
    file.write_text("mine")
    link.symlink_to(file)
    assert is_only_mine(file)
    assert not is_only_mine(link)
    file.chmod(0o666)
    assert not is_only_mine(file)
    file.chmod(0o644)
    if os.getuid() != 0:
        pytest.skip("only root can give a file away")
    os.chown(file, 65534, 65534)
    assert not is_only_mine(file)


def test_a_cache_that_cannot_be_made_is_a_new_folder(tmp_path: Path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert private_cache("kernels").is_dir()


def test_a_planted_link_is_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Not even by one who guesses the name aside."""
    (tmp_path / "mine").write_text("precious")
    monkeypatch.setattr("uuid.uuid4", lambda: type("Guessed", (), {"hex": "0" * 32}))
    (tmp_path / "report.html.partial-00000000").symlink_to("mine")
    with pytest.raises(FileExistsError):
        write_whole(tmp_path / "report.html", "new")
    assert (tmp_path / "mine").read_text() == "precious"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no umask")
def test_the_umask_decides_who_may_read(tmp_path: Path):
    before = os.umask(0o027)
    try:
        write_whole(tmp_path / "a", "")
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640


def test_files_that_belong_together(tmp_path: Path):
    rollouts, results, other = (tmp_path / name for name in ("rollouts", "results", "other"))
    write_together({rollouts: b"1", other: "x", results: "1"})
    write_together({rollouts: b"2", other: None, results: "2"})
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {
        "rollouts": "2",
        "results": "2",
    }


def test_nothing_changes_where_one_cannot_be_written(tmp_path: Path):
    results = tmp_path / "results"
    results.write_text("old")
    with pytest.raises(FileNotFoundError):
        write_together({tmp_path / "nowhere" / "a": "", results: "new"})
    assert results.read_text() == "old"
    assert list(tmp_path.iterdir()) == [results]


def test_the_last_is_away_while_the_others_are_replaced(tmp_path: Path):
    """So a kill leaves no results beside rollouts of others."""
    rollouts, results = tmp_path / "rollouts", tmp_path / "results"
    rollouts.mkdir()
    (rollouts / "file").touch()  # cannot be replaced by a file
    results.write_text("old")
    with pytest.raises(OSError, match="rollouts"):
        write_together({rollouts: "new", results: "new"})
    assert list(tmp_path.iterdir()) == [rollouts]


def test_what_a_kill_left_is_removed(tmp_path: Path):
    (tmp_path / "a.json.partial-01234567").touch()
    (tmp_path / "b.json.partial-01234567").touch()
    remove_leftovers(tmp_path / "a.json")
    assert [file.name for file in tmp_path.iterdir()] == ["b.json.partial-01234567"]


def test_a_folder_that_appears_meanwhile_is_kept_and_so_is_the_work(tmp_path: Path):
    path = tmp_path / "out"

    def export() -> None:
        with complete_or_absent(path) as folder:
            (folder / "a").write_text("1")
            path.mkdir()
            (path / "theirs").touch()

    with pytest.raises(UserError, match="appeared during the run and is kept; the finished one is"):
        export()
    assert [file.name for file in path.iterdir()] == ["theirs"]
    (finished,) = tmp_path.glob("out.partial-*")
    assert (finished / "a").read_text() == "1"


def test_a_link_to_an_empty_folder_is_written_through(tmp_path: Path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to("disk")
    with complete_or_absent(tmp_path / "out") as folder:
        (folder / "a").write_text("1")
    assert (tmp_path / "disk" / "a").read_text() == "1"
    assert (tmp_path / "out").is_symlink()


def test_one_at_a_time(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    order: list[str] = []

    def second() -> None:
        with alone(tmp_path / "set"):
            order.append("second")

    with caplog.at_level(logging.WARNING), alone(tmp_path / "set"):
        thread = threading.Thread(target=second)
        thread.start()
        while "waiting for it" not in caplog.text:
            thread.join(0.01)
        order.append("first")
    thread.join(60)
    assert order == ["first", "second"]
    assert not list(tmp_path.iterdir())  # no lock file stays


def test_a_lock_file_that_is_left_means_nothing(tmp_path: Path):
    (tmp_path / ".set.lock").touch()
    with alone(tmp_path / "set"):
        assert (tmp_path / ".set.lock").exists()


def test_a_lock_that_can_never_be_had_is_refused(tmp_path: Path):
    (tmp_path / "file").touch()
    (tmp_path / ".taken.lock").mkdir()
    for path in (tmp_path / "file" / "set", tmp_path / ("x" * 300), tmp_path / "taken"):
        with pytest.raises(UserError, match=r"cannot make and lock .*choose another folder"):
            with alone(path):
                pass


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="this system has no /proc")
def test_proc_is_refused():
    with pytest.raises(UserError, match="cannot make and lock /proc"):
        with alone(Path("/proc/nowhere")):
            pass


def test_a_folder_is_taken_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("jepawm.files._PATIENCE_SECONDS", 0.1)
    run = tmp_path / "runs" / "a"
    with taken(run, by="training"):
        with pytest.raises(UserError, match=r"another training is writing into .*runs.a; wait"):
            with taken(run, by="training"):
                pass
        with taken(run, by="evaluation"):  # of an earlier checkpoint
            pass
    assert not run.exists()  # nothing was written
    with taken(run, by="training"):
        (run / "a").touch()
    assert [file.name for file in run.iterdir()] == ["a"]
    with pytest.raises(UserError, match="is not a folder; choose another --out"):
        with taken(run / "a", by="training"):
            pass


def test_no_home(monkeypatch: pytest.MonkeyPatch):
    def homeless(*_: object) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(
        UserError, match=r"set JEPAWM_DATA .or HOME. to a folder, or give --data-ro"
    ):
        cache_folder()
    with pytest.raises(UserError, match="no home folder of nobody-of-this-name here; write"):
        expand_user(Path("~nobody-of-this-name/x"))


def test_where_nothing_can_be_is_said_before_the_work(tmp_path: Path):
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "file").write_text("")
    for name in ("loop", "n" * 300, "file/below"):
        with pytest.raises(OSError, match=name[:9]):
            require_free(tmp_path / name)
    (tmp_path / "empty").mkdir()
    require_free(tmp_path / "empty")
