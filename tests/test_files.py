import errno
import os
from pathlib import Path

import pytest

from jepawm.errors import UserError
from jepawm.files import (
    cache_folder,
    complete_or_absent,
    data_root,
    flush_to_disk,
    free_bytes,
    hash_file,
    is_only_mine,
    private_cache,
    require_free_bytes,
    telling_full_disk,
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
