"""Write checkpoints beside the training, which goes on meanwhile."""

import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

from jepawm.processes import together

_LOG = logging.getLogger(__name__)


class CheckpointWriter:
    """Write one checkpoint at a time in a thread of its own.

    What is written must not change any more. An error of a write is raised where the next one is asked
    for, or at the end, in all processes.
    """

    def __init__(self) -> None:
        """Start nothing yet."""
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint")
        self._pending: Future[None] | None = None

    def write(self, function: Callable[[], None] | None) -> None:
        """Wait for the write before and begin this one; None in processes that write nothing."""
        self.wait()
        if function is not None:
            self._pending = self._pool.submit(function)

    def wait(self) -> None:
        """Wait until everything is written; all processes take part."""
        with together():
            pending, self._pending = self._pending, None
            if pending is not None:
                pending.result()

    def __enter__(self) -> "CheckpointWriter":
        """Return the writer."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Let the last write end; its error is raised unless there is another one."""
        self._pool.shutdown(wait=True)
        if kind is None:
            self.wait()
        elif self._pending is not None and (problem := self._pending.exception()) is not None:
            _LOG.warning("%s", problem)
