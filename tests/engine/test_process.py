"""Freed memory stays with the process, and numbers too small to count are 0."""

import subprocess
import sys

import pytest
import torch

from jepawm.engine.process import keep_freed_memory, tune_process

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
