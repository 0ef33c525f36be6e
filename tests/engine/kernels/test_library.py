"""Kernels are compiled once; what is missing is told."""

import subprocess

import pytest

from jepawm.engine.kernels import library as module
from jepawm.engine.kernels.library import library
from jepawm.errors import UserError


@pytest.fixture
def empty_cache(monkeypatch, tmp_path):
    """Return an empty cache folder; kernels are compiled anew."""
    monkeypatch.setattr(module, "cache_folder", lambda: tmp_path)
    library.cache_clear()
    yield tmp_path
    library.cache_clear()


@pytest.mark.amx
def test_kernels_are_compiled_once(empty_cache, monkeypatch):
    library()
    (made,) = (empty_cache / "jepawm").iterdir()
    library.cache_clear()
    monkeypatch.setattr(subprocess, "run", None)
    library()
    assert made.suffix == ".so"


@pytest.mark.amx
def test_without_a_compiler(empty_cache, monkeypatch):
    monkeypatch.setenv("PATH", str(empty_cache))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(UserError, match=r"needs a C\+\+ compiler.*CXX.*float32"):
        library()


@pytest.mark.amx
@pytest.mark.parametrize(
    ("compiler", "message"), [("false", "false fails at the kernels"), ("nothing", "cannot")]
)
def test_a_compiler_that_fails(empty_cache, monkeypatch, compiler, message):
    monkeypatch.setenv("CXX", compiler)
    with pytest.raises(UserError, match=message):
        library()
    assert not list((empty_cache / "jepawm").iterdir())


def test_without_tiles(monkeypatch):
    monkeypatch.setattr(module, "has_tiles", lambda: False)
    library.cache_clear()
    with pytest.raises(UserError, match="needs a CPU with matrix tiles"):
        library()
