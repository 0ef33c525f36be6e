"""Freed memory stays with the process, and numbers too small to count are 0."""

import os
import subprocess
import sys

import pytest
import torch

from jepawm.engine.process import (
    keep_compiled_code_private,
    keep_freed_memory,
    tune_process,
)

SCRIPT = """
import ctypes, resource, threading
from jepawm.engine.process import keep_freed_memory
if {kept}:
    assert keep_freed_memory()
library = ctypes.CDLL(None)
library.malloc.restype = ctypes.c_void_p
library.free.argtypes = [ctypes.c_void_p]
def work():  # as a thread of the engine does
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for size in range(4, 25):  # MiB; what is larger than all before would be mapped anew
        block = library.malloc(size * 2**20)
        ctypes.memset(block, 1, size * 2**20)
        library.free(block)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
thread = threading.Thread(target=work)
thread.start()
thread.join()
"""


def faults(*, kept: bool) -> int:
    script = SCRIPT.format(kept=kept)
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
    )
    return int(done.stdout)


@pytest.mark.skipif(not keep_freed_memory(), reason="not glibc")
def test_memory_is_not_cleared_again():
    assert faults(kept=True) < faults(kept=False) / 4


def test_small_numbers_become_0():
    torch.set_flush_denormal(False)  # tests/conftest.py has said otherwise
    assert float(torch.tensor(1e-30) * torch.tensor(1e-10)) > 0.0
    tune_process()
    assert float(torch.tensor(1e-30) * torch.tensor(1e-10)) == 0.0


def test_asking_twice_changes_nothing():
    assert keep_freed_memory() == keep_freed_memory()


def test_compiled_code_is_kept_where_nobody_else_can_write(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "mine")
    keep_compiled_code_private()
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == "mine"
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR")
    keep_compiled_code_private()
    folder = tmp_path / "jepawm" / "compiled"
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == str(folder)
    assert folder.stat().st_mode & 0o777 == 0o700
