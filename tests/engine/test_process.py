"""Freed memory stays with the process, and numbers too small to count are 0."""

import os
import subprocess
import sys

import pytest
import torch

from jepawm.engine.process import keep_freed_memory, tune_process

SCRIPT = """
import resource, threading, torch
from jepawm.engine.process import keep_freed_memory
if {kept}:
    assert keep_freed_memory()
def work():  # as a thread of the engine does
    for turn in range(12):
        several = [torch.ones(1_500_000) for _ in range(8)]
        several.reverse()
        del several
        if turn == 3:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
thread = threading.Thread(target=work)
thread.start()
thread.join()
"""


def faults(*, kept: bool) -> int:
    script = SCRIPT.format(kept=kept)
    environment = os.environ | {"OMP_NUM_THREADS": "2"}  # with 1 glibc happens to keep it
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return int(done.stdout)


@pytest.mark.skipif(not keep_freed_memory(), reason="not glibc")
def test_memory_is_not_cleared_again():
    assert faults(kept=True) < faults(kept=False) / 4


def test_small_numbers_become_0():
    tune_process()
    assert float(torch.tensor(1e-30) * torch.tensor(1e-10)) == 0.0


def test_asking_twice_changes_nothing():
    assert keep_freed_memory() == keep_freed_memory()
