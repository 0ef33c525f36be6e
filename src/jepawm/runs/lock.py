"""One process at a time makes a data set or a feature cache."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

_LOG = logging.getLogger(__name__)


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Wait until no other process makes `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path.with_name(f".{path.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        _LOG.warning("another process is making %s; waiting for it", path)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
