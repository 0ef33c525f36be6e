"""A process that answers lines of JSON: its side (`say`, `requests`), and that of its parent (`Child`)."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from time import monotonic

Answer = dict[str, object]
HERE = Path(__file__).parent
_ANSWERS = sys.stdout
"""Where answers go; what libraries print goes elsewhere (`quiet`)."""


class ChildError(Exception):
    """A child that ended, or did not answer in time."""


class Child:
    """A process that answers."""

    def __init__(self, command: Sequence[str], *, log: Path) -> None:
        """Start it; what it prints beside its answers goes to a file."""
        self._log = log
        self._lines: Queue[str | None] = Queue()
        with log.open("w", encoding="utf-8") as file:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=file, text=True,
                env={"OMP_NUM_THREADS": "2", "TORCHINDUCTOR_COMPILE_THREADS": "3", **os.environ},
            )  # fmt: skip
        Thread(target=self._read, daemon=True).start()

    def answer(self, *, until: float) -> Answer:
        """Return the next answer; raises where there is none by then (`monotonic` seconds)."""
        line = self.line(until=until)
        if line is None:
            raise ChildError(f"ended without an answer\n{self.tail()}")
        return json.loads(line)

    def ask(self, request: Mapping[str, object], *, until: float) -> Answer:
        """Send a request and return the answer."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        except OSError as error:
            raise ChildError(f"ended before it was asked\n{self.tail()}") from error
        return self.answer(until=until)

    def line(self, *, until: float) -> str | None:
        """Return the next line; None at the end."""
        try:
            return self._lines.get(timeout=max(0.01, until - monotonic()))
        except Empty:
            raise ChildError(f"no answer in time\n{self.tail()}") from None

    def tail(self) -> str:
        """Return the end of what it complained about."""
        return self._log.read_text(encoding="utf-8", errors="replace")[-1500:]

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put(None)


def start_script(script: str, spec: Mapping[str, object], *, log: Path) -> Child:
    """Start a script of this folder with a specification."""
    return Child([sys.executable, str(HERE / script), json.dumps(spec)], log=log)


def read_spec() -> Answer:
    """Return what this process shall do; from here on what it prints is no answer."""
    sys.stdout = sys.stderr
    return json.loads(sys.argv[1])


def say(answer: Mapping[str, object]) -> None:
    """Answer."""
    print(json.dumps(answer), file=_ANSWERS, flush=True)


def requests() -> Iterator[Answer]:
    """Yield requests until the parent ends."""
    for line in sys.stdin:
        yield json.loads(line)
