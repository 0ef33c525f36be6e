"""What concerns the whole process: numbers too small to count, memory and compiled code that are kept."""

import ctypes
import os
from functools import cache

import torch

from jepawm.files import private_cache

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_KEPT_BYTES, _MAPPED_BYTES = 2**30, 2**25


def tune_process() -> None:
    """Make tensors on a CPU faster in this process; the verbs call it, a script of your own may.

    Numbers below 1e-38 become 0: they are slow and mean nothing. Freed memory is kept.
    """
    torch.set_flush_denormal(True)
    keep_freed_memory()


@cache
def keep_freed_memory() -> bool:
    """Let this process keep up to 1 GiB of freed memory for its next tensors.

    glibc gives larger blocks back to the system when they are freed, and the system clears them page
    by page when they come back: 2 to 6 % of the time of planning on a CPU.

    Returns:
        whether there was something to set; other C libraries decide for themselves.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(
        mallopt(_M_MMAP_THRESHOLD, _MAPPED_BYTES) and mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
    )


def keep_compiled_code_private() -> None:
    """Let `torch.compile` keep its code where nobody else can write, and load none of others.

    Its own place is a folder of /tmp with a name that everybody knows.
    """
    if "TORCHINDUCTOR_CACHE_DIR" not in os.environ:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(private_cache("compiled"))
