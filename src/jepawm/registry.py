"""Names for parts, resolved on first use; other packages add their own by entry points."""

from collections.abc import Mapping
from difflib import get_close_matches
from importlib import import_module
from importlib.metadata import entry_points

from jepawm.errors import UserError


class Registry:
    """Map names to objects given as `"module:attribute"`, imported when asked for.

    A name such as `metaworld:TASK` stands for a family: `metaworld:push` is what its function
    returns for `push`. A package adds a name by an entry point of group `jepawm.<kind>`.
    """

    def __init__(self, kind: str, targets: Mapping[str, str]) -> None:
        """Take the kind ("environment", ...) for messages and the built-in targets."""
        self.kind = kind
        self._targets = dict(targets)

    def names(self) -> list[str]:
        """List all names, sorted."""
        return sorted(self._all_targets())

    def get(self, name: str) -> object:
        """Import and return the object called `name`.

        Raises:
            UserError: if there is no such name; the message lists those there are.
        """
        targets = self._all_targets()
        family, colon, member = name.partition(":")
        families = {one.partition(":")[0]: target for one, target in targets.items() if ":" in one}
        if colon and member and family in families:
            return _load(families[family])(member)
        if name not in targets:
            close = get_close_matches(name, targets, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            known = ", ".join(sorted(targets))
            raise UserError(f"unknown {self.kind} {name!r}{hint} (known: {known})")
        return _load(targets[name])

    def _all_targets(self) -> dict[str, str]:
        plugins = {point.name: point.value for point in entry_points(group=f"jepawm.{self.kind}")}
        return plugins | self._targets


def _load(target: str):  # noqa: ANN202 - whatever the target is
    module, attribute = target.split(":")
    return getattr(import_module(module), attribute)
