"""The verbs of the command line."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from jepawm.cli.bench import prepare_bench
from jepawm.cli.command import Command
from jepawm.cli.data import prepare_data
from jepawm.cli.evaluate import prepare_eval, prepare_plan
from jepawm.cli.imports import prepare_import
from jepawm.cli.inspect import prepare_check, prepare_list, prepare_report
from jepawm.cli.train import prepare_collect, prepare_train
from jepawm.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Verb:
    """One verb."""

    summary: str
    """What it does, in one line."""
    prepare: Callable[[list[str]], Command]
    """Parse the arguments after the verb."""


VERBS: Mapping[str, Verb] = {
    "train": Verb(summary="train a recipe (collects its data first)", prepare=prepare_train),
    "eval": Verb(summary="measure success beside the baselines", prepare=prepare_eval),
    "plan": Verb(summary="plan one task and show it", prepare=prepare_plan),
    "collect": Verb(summary="collect episodes into a store", prepare=prepare_collect),
    "data": Verb(summary="import, inspect, check, export data sets", prepare=prepare_data),
    "import": Verb(summary="import a checkpoint of another project", prepare=prepare_import),
    "report": Verb(summary="write the report of a run", prepare=prepare_report),
    "list": Verb(summary="list environments, recipes, planners, checkpoints", prepare=prepare_list),
    "bench": Verb(summary="measure planning on this machine", prepare=prepare_bench),
    "check": Verb(summary="reproduce golden numbers (check golden DIR)", prepare=prepare_check),
}
"""Every verb by name."""


def prepare(name: str, argv: Sequence[str]) -> Command:
    """Parse the arguments `argv` of the verb `name`.

    Raises:
        UserError: if there is no such verb.
    """
    if name not in VERBS:
        raise UserError(f"unknown verb {name!r} (known: {', '.join(VERBS)})")
    return VERBS[name].prepare(list(argv))
