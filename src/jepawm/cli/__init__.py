"""The command line: `jepawm VERB ...`; exit codes 0 (done), 2 (the user can fix it), 1 (a fault)."""

import contextlib
import errno
import io
import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from jepawm.cli.bench import prepare_bench
from jepawm.cli.data import prepare_data
from jepawm.cli.diagnose import prepare_diagnose
from jepawm.cli.evaluate import prepare_collect_plans, prepare_eval, prepare_plan
from jepawm.cli.eyes import prepare_imagine, prepare_train_decoder
from jepawm.cli.hub import prepare_import, prepare_push
from jepawm.cli.inspect import prepare_check, prepare_list, prepare_report
from jepawm.cli.output import print_json
from jepawm.cli.parsing import Command
from jepawm.cli.play import prepare_play
from jepawm.cli.pretrain import prepare_pretrain
from jepawm.cli.reward import prepare_train_reward
from jepawm.cli.serve import prepare_serve
from jepawm.cli.study import prepare_study
from jepawm.cli.text import prepare_train_text
from jepawm.cli.train import (
    prepare_collect,
    prepare_train,
    prepare_train_proposer,
)
from jepawm.errors import UserError, plain_text
from jepawm.files import require_utf8
from jepawm.launch import follow_launcher, read_launch, run_processes

_CHECK, _CHOOSE = "check the path", "choose another folder (--out, --data-root)"
_REMEDIES: Mapping[int, str] = {
    errno.ENOSPC: f"free some space or {_CHOOSE}",
    errno.EDQUOT: f"free some space or {_CHOOSE}",
    errno.EFBIG: f"raise `ulimit -f`, or {_CHOOSE}",
    errno.EACCES: f"ask for the right to use it, or {_CHOOSE}",
    errno.EPERM: f"ask for the right to use it, or {_CHOOSE}",
    errno.EROFS: _CHOOSE,
    errno.ENOENT: f"{_CHECK}; files that were there may have been removed meanwhile",
    errno.ENAMETOOLONG: "give a shorter path",
    errno.ELOOP: "its links lead in a circle; give the path that is meant",
    errno.EMFILE: "raise `ulimit -n`",
    errno.EIO: "its disk fails; copy what is on it to another",
}
"""What to do about an error of the operating system, by its number."""
_SHOWN = 300
"""Characters of a path that messages show."""


@dataclass(frozen=True, kw_only=True)
class Verb:
    """One verb."""

    summary: str
    """What it does, in one line."""
    prepare: Callable[[list[str]], Command]
    """Parse the arguments after the verb."""


VERBS: Mapping[str, Verb] = {
    "train": Verb(summary="train a recipe (collects its data first)", prepare=prepare_train),
    "train-proposer": Verb(
        summary="train a proposer of plans through a model", prepare=prepare_train_proposer
    ),
    "train-decoder": Verb(
        summary="train what shows a model's latents as pictures", prepare=prepare_train_decoder
    ),
    "train-reward": Verb(
        summary="train a reward to plan on in place of a goal", prepare=prepare_train_reward
    ),
    "train-text": Verb(summary="train what understands goals in words", prepare=prepare_train_text),
    "eval": Verb(summary="measure success, and that of the baselines", prepare=prepare_eval),
    "plan": Verb(summary="plan one task and show it", prepare=prepare_plan),
    "imagine": Verb(summary="film what a model imagines and plans", prepare=prepare_imagine),
    "play": Verb(summary="drag the goal and watch the planner think", prepare=prepare_play),
    "serve": Verb(summary="serve plans to a robot's own program", prepare=prepare_serve),
    "diagnose": Verb(summary="measure what a model gets wrong", prepare=prepare_diagnose),
    "collect": Verb(summary="collect episodes into a store", prepare=prepare_collect),
    "pretrain": Verb(
        summary="pretrain a small encoder on the frames of a store", prepare=prepare_pretrain
    ),
    "collect-plans": Verb(
        summary="collect what the plans of a run lead to", prepare=prepare_collect_plans
    ),
    "data": Verb(summary="import, inspect, check, export, join data sets", prepare=prepare_data),
    "import": Verb(summary="import a checkpoint of another project", prepare=prepare_import),
    "push": Verb(summary="upload a model to the Hugging Face hub", prepare=prepare_push),
    "report": Verb(summary="write the report of a run", prepare=prepare_report),
    "list": Verb(summary="list environments, recipes, planners, checkpoints", prepare=prepare_list),
    "study": Verb(
        summary="vary one choice of design, with statistics (study list|run|report)",
        prepare=prepare_study,
    ),
    "bench": Verb(summary="measure planning on this machine", prepare=prepare_bench),
    "check": Verb(
        summary="reproduce golden numbers (check golden DIR), check a file (check weights FILE)",
        prepare=prepare_check,
    ),
}
"""Every verb by name."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; `argv` defaults to the command line."""
    # Threads that wait for long by spinning take the core that another thread needs; read when
    # torch is imported, which no module has done yet.
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    if argv is None and "JEPAWM_TRACEBACK" not in os.environ:
        sys.excepthook = _report_fault
    follow_launcher()
    words = list(sys.argv[1:] if argv is None else argv)
    as_json = "--json" in words
    try:
        _check_words(words)
        _look_here(words)
        code = _dispatch(words)
        sys.stdout.flush()
    except UserError as error:
        return _complain(str(error), as_json=as_json)
    except KeyboardInterrupt:
        return _complain("interrupted", as_json=as_json)
    except BrokenPipeError:  # the reader of our output has gone, as in `jepawm list | head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        if error.errno is None:  # no answer of the operating system, but a fault of a library
            raise
        return _complain(_refusal(error), as_json=as_json)
    except UnicodeEncodeError as error:  # libraries below take names in UTF-8 only
        text = f"{error.object[:_SHOWN]} is no UTF-8 text; rename the file or folder"
        return _complain(text, as_json=as_json)
    return code


def _refusal(error: OSError) -> str:
    """Say which path the operating system refuses, why, and what to do."""
    named = [
        os.fsdecode(one)
        for one in (error.filename, error.filename2)
        if isinstance(one, str | bytes)
    ]
    paths = " and ".join(plain_text(one[:_SHOWN]) for one in named)
    reason = plain_text(error.strerror or type(error).__name__)
    remedy = _REMEDIES.get(error.errno or 0, f"{_CHECK}, or {_CHOOSE}")
    return f"{paths}: {reason}; {remedy}" if paths else f"{reason}; {remedy}"


class _HarmlessFormatter(logging.Formatter):
    """Show the message alone, with nothing in it that moves a cursor."""

    def format(self, record: logging.LogRecord) -> str:
        return _harmless(super().format(record))


def _harmless(text: str) -> str:
    """Return lines for a terminal: whatever a foreign file says, it moves no cursor."""
    return "\n".join(map(plain_text, text.split("\n")))


def _check_words(words: Sequence[str]) -> None:
    """Refuse what can be neither a path nor a text: it would fail somewhere after all the work."""
    for word in words:
        if not word or (word.startswith("--") and word.endswith("=")):
            name = plain_text(word[:-1]) or "an argument"
            raise UserError(f"{name} is empty; give a value, or leave it out")
        if "\0" in word:
            raise UserError(f"{plain_text(word)} holds a null character; leave it out")
        require_utf8(word)


def _look_here(argv: Sequence[str]) -> None:
    """Let `my_module:MyPlanner` be found in this folder; last, so that it hides nothing."""
    named = any(":" in word or word == "--trust" for word in argv)
    if named and (here := str(Path.cwd())) not in sys.path:
        sys.path.append(here)


def _dispatch(argv: list[str]) -> int:
    if not argv or argv[0] in ("-h", "--help"):
        print(_usage())  # noqa: T201
        return 0
    if argv[0] == "--version":
        from jepawm import __version__

        print(f"jepawm {__version__}")  # noqa: T201
        return 0
    command = _prepare_quietly(argv) if "--json" in argv else prepare(argv[0], argv[1:])
    launch = read_launch()
    if command.processes != 1 and launch.launcher == "none":
        return run_processes(command.processes, argv)
    messages = logging.StreamHandler(sys.stderr)
    messages.setFormatter(_HarmlessFormatter())
    logging.basicConfig(handlers=[messages])
    logging.getLogger("jepawm").setLevel(logging.INFO if launch.rank == 0 else logging.CRITICAL)
    if launch.rank > 0:
        return command.run().exit_code
    if not command.as_json:
        outcome = command.run()
        print(_harmless(outcome.text))  # noqa: T201
    else:
        with contextlib.redirect_stdout(sys.stderr):  # stdout is for the one object
            outcome = command.run()
        print_json(outcome.result)
    return outcome.exit_code


def prepare(name: str, argv: Sequence[str]) -> Command:
    """Parse the arguments `argv` of the verb `name`."""
    if name not in VERBS:
        raise UserError(f"unknown verb {name!r} (known: {', '.join(VERBS)})")
    return VERBS[name].prepare(list(argv))


def _prepare_quietly(argv: Sequence[str]) -> Command:
    """Parse a command line; what is wrong with it becomes a message, not a drawing of one."""
    shown = io.StringIO()
    try:
        with contextlib.redirect_stderr(shown):
            return prepare(argv[0], argv[1:])
    except SystemExit as stop:
        if stop.code in (0, None):  # --help
            raise
        words = shown.getvalue().translate(dict.fromkeys(map(ord, "─│╭╮╰╯"), " ")).split()
        raise UserError(" ".join(words)) from stop


def _usage() -> str:
    width = max(len(name) for name in VERBS)
    lines = [f"  {name:<{width}}  {verb.summary}" for name, verb in VERBS.items()]
    return "\n".join(
        [
            "usage: jepawm VERB ... (jepawm VERB --help lists the options of one)",
            "",
            "Train joint-embedding predictive world models and plan with them.",
            "",
            *lines,
            "",
            "  --version  print the version",
            "",
            "--json prints the result of a verb, or its error, as one JSON object; messages go to stderr.",
            "JEPAWM_TRACEBACK=1 shows the whole traceback of a fault.",
        ]
    )


def _complain(message: str, *, as_json: bool) -> int:
    """Say once what the user can fix: all processes of a run fail alike."""
    try:
        rank = read_launch().rank
    except UserError:  # it is about the launcher's own variables
        rank = 0
    if rank == 0:
        print(f"jepawm: {_harmless(message)}", file=sys.stderr)  # noqa: T201
        if as_json:
            print_json({"error": message})
    return 2


def _report_fault(
    kind: type[BaseException], error: BaseException, _traceback: TracebackType | None
) -> None:
    message = f"{kind.__name__}: {error}" if str(error) else kind.__name__
    hint = "this is a fault of the program; set JEPAWM_TRACEBACK=1 for the traceback"
    print(f"jepawm: {message}\n({hint})", file=sys.stderr)  # noqa: T201
    if "--json" in sys.argv:
        print_json({"error": f"{message} ({hint})"})


__all__ = ["VERBS", "Verb", "main", "prepare"]
