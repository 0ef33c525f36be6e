"""The command line: `jepawm VERB ...`; exit codes 0 (done), 2 (the user can mend it), 1 (a fault)."""

import contextlib
import errno
import logging
import os
import sys
from collections.abc import Sequence
from types import TracebackType

from jepawm.cli.output import print_json
from jepawm.cli.processes import run_processes
from jepawm.cli.verbs import VERBS, prepare
from jepawm.errors import UserError
from jepawm.launch import read_launch

_DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; `argv` defaults to the command line."""
    # Threads that wait for long by spinning take the core that another thread needs; read when
    # torch is imported, which no module has done yet.
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    if argv is None and "JEPAWM_TRACEBACK" not in os.environ:
        sys.excepthook = _report_fault
    try:
        code = _dispatch(list(sys.argv[1:] if argv is None else argv))
        sys.stdout.flush()
    except UserError as error:
        return _complain(str(error))
    except KeyboardInterrupt:
        return _complain("interrupted")
    except BrokenPipeError:  # the reader of our output has gone, as in `jepawm list | head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        if error.errno not in _DISK_ERRORS:
            raise
        return _complain(f"{error}; free some space or choose another folder (--out, --data-root)")
    return code


def _dispatch(argv: list[str]) -> int:
    if not argv or argv[0] in ("-h", "--help"):
        print(_usage())  # noqa: T201
        return 0
    if argv[0] == "--version":
        from jepawm import __version__

        print(f"jepawm {__version__}")  # noqa: T201
        return 0
    command = prepare(argv[0], argv[1:])
    launch = read_launch()
    if command.processes != 1 and launch.launcher == "none":
        return run_processes(command.processes, argv)
    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    logging.getLogger("jepawm").setLevel(logging.INFO if launch.rank == 0 else logging.CRITICAL)
    if launch.rank > 0:
        return command.run().exit_code
    if not command.as_json:
        outcome = command.run()
        print(outcome.text)  # noqa: T201
    else:
        with contextlib.redirect_stdout(sys.stderr):  # stdout is for the one object
            outcome = command.run()
        print_json(outcome.result)
    return outcome.exit_code


def _usage() -> str:
    width = max(len(name) for name in VERBS)
    lines = [f"  {name:<{width}}  {verb.summary}" for name, verb in VERBS.items()]
    return "\n".join(
        [
            "usage: jepawm VERB ... (jepawm VERB --help tells the options of one)",
            "",
            "Train joint-embedding predictive world models and plan with them.",
            "",
            *lines,
            "",
            "  --version  print the version",
            "",
            "--json prints the result of a verb as one JSON object; messages go to stderr.",
            "JEPAWM_TRACEBACK=1 shows the whole traceback of a fault.",
        ]
    )


def _complain(message: str) -> int:
    """Tell the user what to mend, once: all processes of a run fail alike."""
    if os.environ.get("RANK", os.environ.get("SLURM_PROCID", "0")) == "0":
        print(f"jepawm: {message}", file=sys.stderr)  # noqa: T201
    return 2


def _report_fault(
    kind: type[BaseException], error: BaseException, _traceback: TracebackType | None
) -> None:
    message = f"{kind.__name__}: {error}" if str(error) else kind.__name__
    hint = "this is a fault of the program; set JEPAWM_TRACEBACK=1 for the traceback"
    print(f"jepawm: {message}\n({hint})", file=sys.stderr)  # noqa: T201


__all__ = ["main"]
