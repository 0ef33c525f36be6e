"""Kernels are compiled once; what is missing is told."""

import ctypes
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

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


@pytest.mark.parametrize(
    ("multiplies", "message"),
    [
        (False, "matrix tiles .AMX.; take another"),
        (True, "bfloat16 in AVX-512 alone; take bfloat16"),
    ],
)
def test_without_tiles(monkeypatch, multiplies: bool, message: str):
    monkeypatch.setattr(module, "has_tiles", lambda: False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: multiplies)
    library.cache_clear()
    with pytest.raises(UserError, match=message):
        library()


@pytest.mark.parametrize(
    ("switch", "message"),
    [("off", "JEPAWM_KERNELS=off switches off"), ("no", "set it to on or off")],
)
def test_kernels_can_be_switched_off(monkeypatch, switch: str, message: str):
    monkeypatch.setattr(module, "has_tiles", lambda: True)
    monkeypatch.setenv("JEPAWM_KERNELS", switch)
    library.cache_clear()
    with pytest.raises(UserError, match=message):
        library()


COMPILER = """#!/bin/sh
echo called >> {folder}/calls
while [ "$1" != "-o" ]; do shift; done
{action}
"""


@pytest.fixture
def own_compiler(monkeypatch, tmp_path: Path):
    """Return a function that puts a script with an action on `$2`, the output, into `CXX`."""

    def make(action: str) -> Path:
        script = tmp_path / "my c++"  # a name that has to be quoted
        script.write_text(COMPILER.format(folder=tmp_path, action=action))
        script.chmod(0o755)
        monkeypatch.setenv("CXX", f"'{script}' -DMINE")
        return tmp_path / "calls"

    return make


@pytest.fixture
def opened(monkeypatch) -> list[str]:
    """Return a list of the libraries that are opened; they are read, not loaded."""
    found: list[str] = []
    load = ctypes.CDLL

    def read(path: str) -> ctypes.CDLL:
        if Path(path).read_text() == "damaged":
            raise OSError("file too short")
        found.append(path)
        return load(None)

    monkeypatch.setattr(ctypes, "CDLL", read)
    return found


def test_any_compiler_is_honoured_and_another_one_compiles_anew(
    own_compiler, opened, tmp_path: Path, monkeypatch
):
    folder = tmp_path / "kernels"
    folder.mkdir()
    calls = own_compiler('echo whole > "$2"')
    for _ in range(2):
        module._open(folder)
    assert calls.read_text() == "called\n"  # kept
    assert len(set(opened)) == 1
    own_compiler('echo "whole again" > "$2"')  # a new version of the same program
    module._open(folder)
    assert len(set(opened)) == 2
    monkeypatch.setattr(module, "_FLAGS", (*module._FLAGS, "-g"))
    module._open(folder)
    assert len(set(opened)) == 3
    assert len(calls.read_text().splitlines()) == 3


def test_without_a_compiler_what_one_made_before_is_taken(
    own_compiler, opened, tmp_path: Path, monkeypatch
):
    folder = tmp_path / "kernels"
    folder.mkdir()
    own_compiler('echo whole > "$2"')
    module._open(folder)
    monkeypatch.delenv("CXX")
    monkeypatch.setenv("PATH", str(folder))
    module._open(folder)
    assert len(set(opened)) == 1


def test_a_damaged_library_is_compiled_anew(own_compiler, opened, tmp_path: Path, caplog):
    folder = tmp_path / "kernels"
    folder.mkdir()
    own_compiler('echo whole > "$2"')
    module._open(folder)
    Path(opened[0]).write_text("damaged")
    module._open(folder)
    assert Path(opened[1]).read_text() == "whole\n"
    assert "are damaged (file too short); they are compiled anew" in caplog.text


def test_a_compiler_that_dies_half_way_leaves_nothing(own_compiler, opened, tmp_path: Path):
    folder = tmp_path / "kernels"
    folder.mkdir()
    own_compiler('echo half > "$2"; echo "x.cpp:1: error: no such flag -mamx" >&2; exit 1')
    with pytest.raises(UserError) as told:
        module._open(folder)
    assert "fails at the kernels: x.cpp:1: error: no such flag -mamx; take" in str(told.value)
    assert "\n" not in str(told.value)
    assert opened == list(folder.iterdir()) == []


def test_a_command_that_is_none_is_told(monkeypatch):
    monkeypatch.setenv("CXX", "g++ '")
    with pytest.raises(UserError, match=r"CXX=.* is no command"):
        module._find_compiler()


NAMES = [
    name
    for version in ("", "-11", "-12", "-13", "-14")
    for name in (f"g++{version}", f"clang++{version}")
]
FOUND = [name for name in NAMES if shutil.which(name)]


@pytest.mark.slow
@pytest.mark.skipif(not FOUND, reason="there is no compiler")
@pytest.mark.parametrize("compiler", FOUND)
def test_the_compilers_here_build_the_kernels(compiler: str, tmp_path: Path):
    module.compile_kernels(tmp_path / "kernels.so", [compiler])
    ctypes.CDLL(str(tmp_path / "kernels.so")).jepawm_packed_size  # noqa: B018


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

    def note(path: Path, compiler: list[str]) -> None:
        asked.append(path)
        raise UserError("compiled anew")

    monkeypatch.setattr(module, "compile_kernels", note)
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
