from pathlib import Path

import pytest

from jepawm.data.new_folder import complete_or_absent
from jepawm.errors import UserError


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
