"""`--planner NAME` and the fields of the planner that it names."""

from jepawm.errors import UserError
from jepawm.planning import PLANNERS


def new_planner(name: str) -> object:
    """Build the planner called `name` with its defaults."""
    kind = PLANNERS.get(name)
    if not isinstance(kind, type):
        raise UserError(f"planner {name!r} is no class; mend the package that registers it")
    return kind()


def planner_names() -> str:
    """Return the names of all planners as text."""
    return ", ".join(PLANNERS.names())
