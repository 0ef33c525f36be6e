"""Let a long run end its step when the user presses Ctrl-C or a scheduler asks it to stop."""

import signal
from types import FrameType, TracebackType
from typing import Any

from jepawm.errors import UserError
from jepawm.processes import any_process, count_processes


class StopRequest:
    """Note SIGINT and SIGTERM while active; a second SIGINT interrupts at once.

    All processes of a run stop after the same step. They do not heed a second SIGINT: a launcher
    may hand on what the terminal has sent already.
    """

    def __init__(self, resume_command: str) -> None:
        """Take the command that goes on with the run."""
        self._resume_command = resume_command
        self._requested = False  # set by the handler alone: a signal may come at any moment
        self._before: dict[int, Any] = {}

    def __call__(self) -> bool:
        """Return whether a stop was asked for in any process; all must ask."""
        return any_process(self._requested)

    def __enter__(self) -> "StopRequest":
        """Take over the signals."""
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Give the signals back; tell how to go on if the run was stopped.

        Raises:
            UserError: if a stop was asked for; the checkpoint is written by then.
        """
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if kind is None and self():
            raise UserError(f"stopped; a checkpoint is written, go on with: {self._resume_command}")

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if self._requested and number == signal.SIGINT and count_processes() == 1:
            raise KeyboardInterrupt
        self._requested = True
