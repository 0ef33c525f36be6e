from pathlib import Path

import pytest

from jepawm.data.root import data_root


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
