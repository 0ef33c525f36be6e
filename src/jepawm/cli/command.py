"""What a parsed command line is, and what comes out of it."""

from collections.abc import Callable
from dataclasses import dataclass

from jepawm.cli.output import Result


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a command did."""

    result: Result
    """The result as data, printed by `--json`."""
    text: str
    """The result for a person."""
    exit_code: int = 0
    """Exit code of the program."""


@dataclass(frozen=True, kw_only=True)
class Command:
    """A parsed command line, ready to run."""

    run: Callable[[], Outcome]
    """Do the work."""
    as_json: bool
    """Whether the result is printed as one JSON object."""
    processes: int = 1
    """Processes to start, each for the same command line."""
