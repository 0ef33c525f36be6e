"""Kernels are compiled once; what is missing is told."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from jepawm.engine.kernels import library as module
from jepawm.engine.kernels.library import library
from jepawm.errors import UserError


@pytest.fixture
def empty_cache(monkeypatch, tmp_path):
    """Return an empty cache folder; kernels are compiled anew."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    library.cache_clear()
    yield tmp_path
    library.cache_clear()


@pytest.mark.amx
def test_kernels_are_compiled_once(empty_cache, monkeypatch):
    library()
    (made,) = (empty_cache / "jepawm" / "kernels").iterdir()
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
    assert not list((empty_cache / "jepawm" / "kernels").iterdir())


def test_without_tiles(monkeypatch):
    monkeypatch.setattr(module, "has_tiles", lambda: False)
    library.cache_clear()
    with pytest.raises(UserError, match="needs a CPU with matrix tiles"):
        library()


PLANTED = """
#include <stdlib.h>
__attribute__((constructor)) void planted(void) { exit(66); }
"""
LOAD = """
import torch
torch.cpu._is_amx_tile_supported = lambda: True  # compiling and loading need none
from jepawm.engine.kernels.library import library
from jepawm.errors import UserError
try:
    library()
except UserError as error:
    print(error)
"""


@pytest.mark.parametrize("mode", [0o1777, 0o777])
def test_what_others_can_have_put_there_is_not_loaded(empty_cache, monkeypatch, mode: int):
    monkeypatch.setattr(module, "has_tiles", lambda: True)
    asked: list[Path] = []

    def note(path: Path) -> None:
        asked.append(path)
        raise UserError("compiled anew")

    monkeypatch.setattr(module, "_compile", note)
    for _ in range(2):
        with pytest.raises(UserError, match="compiled anew"):
            library()
        asked[0].write_bytes(b"planted")
        asked[0].parent.chmod(mode)
    assert asked[0].is_relative_to(empty_cache)
    assert not asked[1].is_relative_to(empty_cache)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="there is no g++ to compile with")
def test_a_planted_library_does_not_run(tmp_path: Path):
    """Whatever lies there under the right name: it is compiled anew, in a folder of its own."""
    cache = tmp_path / "cache"
    environment = os.environ | {"XDG_CACHE_HOME": str(cache)}

    def load() -> int:
        done = subprocess.run(
            [sys.executable, "-c", LOAD], env=environment, timeout=300, check=False
        )
        return done.returncode

    assert load() == 0
    (made,) = (cache / "jepawm" / "kernels").iterdir()
    (tmp_path / "planted.c").write_text(PLANTED)
    flags = ["-shared", "-fPIC", "-x", "c", str(tmp_path / "planted.c"), "-o", str(made)]
    subprocess.run(["g++", *flags], check=True)
    made.chmod(0o755)
    assert load() == 66  # this user's own file in this user's own folder counts
    cache.chmod(0o1777)
    assert load() == 0
