"""Names for parts, resolved on first use; anyone adds more.

A part of others is named in one of three ways: `"my_module:MyPlanner"` wherever a name is taken, a
name given by `register`, or an entry point of a package (group `jepawm.planner`, ...).
"""

import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from functools import lru_cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from traceback import extract_tb
from types import TracebackType

from jepawm.errors import UserError, plain_text

Rule = Callable[[object], str | None]
"""Return what an object lacks to be of a kind, in words; None if it lacks nothing."""

_TARGET = re.compile(r"[A-Za-z_]\w*(\.\w+)*:[A-Za-z_]\w*(\.\w+)*")
_NAMED = set[str]()
"""Modules that the user named in this process: what a file may name too."""


class UntrustedModuleError(UserError):
    """A file names a module that the user did not name."""


class Registry:
    """Map names to objects given as `"module:attribute"`, imported when asked for.

    A name such as `metaworld:TASK` stands for a family: `metaworld:push` is what its function
    returns for `push`.
    """

    def __init__(
        self,
        kind: str,
        targets: Mapping[str, str],
        *,
        rule: Rule,
        wrappers: tuple[str, ...] = (),
    ) -> None:
        """Take the kind ("data_format", ...), the built-in targets and what an object must have.

        The kind is part of the group of entry points, `jepawm.data_format`. `wrappers` are families
        whose members are names of this registry, with something after them.
        """
        if not kind.isidentifier():
            raise ValueError(f"{kind!r} cannot be the group of entry points")
        self.kind = kind
        self._targets = dict(targets)
        self._rule = rule
        self._wrappers = wrappers
        self._registered: dict[str, object] = {}

    @property
    def title(self) -> str:
        """Return the kind in words, for messages."""
        return self.kind.replace("_", " ")

    def names(self) -> list[str]:
        """List all names, sorted."""
        return sorted(self._all_targets())

    def is_built_in(self, name: str) -> bool:
        """Return whether a name comes with this library."""
        return name in self._targets

    def register(self, name: str, target: object) -> None:
        """Add a part: the object itself, or `"module:attribute"`; again to replace it.

        An object is checked at once, a target when it is asked for.
        """
        if name in self._targets:
            raise UserError(f"{self.title} {name!r} is built in; choose another name")
        if not name or (":" in name and not name.partition(":")[2].isupper()):
            raise UserError(
                f"{self.title} {name!r} is not a name; give one without a colon, or FAMILY:MEMBER "
                "in capitals for a family"
            )
        if isinstance(target, str):
            if not _TARGET.fullmatch(target):
                raise UserError(
                    f"{self.title} {name!r} = {target!r}; write the target as my_module:MyThing"
                )
        elif ":" not in name:
            self._check(name, target)
        _NAMED.add(_module_of(target))
        self._registered[name] = target

    def get(self, name: str) -> object:
        """Import and return the object called `name`, by its name or as `"module:attribute"`.

        What is asked for so counts as named by the user; names that stand in files go through
        `require_named` first.
        """
        targets = self._all_targets()
        family, colon, member = name.partition(":")
        families = {one.partition(":")[0]: target for one, target in targets.items() if ":" in one}
        if colon and member and family in families:
            count_as_named(member)
            build = self._resolve(name, families[family])
            if not callable(build):
                raise UserError(
                    f"{self.title} {family!r} is not a family: its target is no function"
                )
            return self._checked(name, build(member))
        if name in targets:
            return self._checked(name, self._resolve(name, targets[name]))
        if _TARGET.fullmatch(name):
            count_as_named(name)
            return self._checked(name, self._resolve(name, name))
        close = get_close_matches(name, targets, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise UserError(
            f"unknown {self.title} {name!r}{hint} (known: {', '.join(sorted(targets))}; your own: "
            "my_module:MyThing)"
        )

    def name_of(self, part: object) -> str:
        """Return a name by which `get` returns the class of a part."""
        kind = type(part)
        target = f"{kind.__module__}:{kind.__qualname__}"
        for name, known in self._all_targets().items():
            if ":" not in name and (known is kind or known == target or _loaded(known) is kind):
                return name
        if "<locals>" in target:
            raise UserError(
                f"{self.title} {kind.__qualname__} is defined inside a function, where it cannot be "
                f"found again; define it in a module, or jepawm.register({self.kind!r}, NAME, "
                f"{kind.__name__})"
            )
        return target

    def require_named(self, name: str) -> None:
        """Refuse a name that stands in a file if it would import a module nobody named here."""
        module = self.module_in(name)
        if module and not _is_named(module):
            raise UntrustedModuleError(
                f"it names the {self.title} {name!r}, and with it code of the module {module!r}, "
                "which you did not name; if you trust it, say --trust (in Python: "
                "jepawm.load(..., trust=True))"
            )

    def module_in(self, name: str) -> str:
        """Return the module that a name says itself, as `my_module:MyThing` does; empty if none."""
        targets = self._all_targets()
        if name in targets:
            return ""
        family, colon, member = name.partition(":")
        if colon and family in self._wrappers:
            return self.module_in(member)
        if family in {one.partition(":")[0] for one in targets}:
            name = member
        return name.rpartition(":")[0]

    def _all_targets(self) -> dict[str, object]:
        group = f"jepawm.{self.kind}"
        points = [point for point in _installed_points() if point.group == group]
        plugins = {point.name: _target_of(point) for point in points}
        return plugins | self._registered | self._targets

    def _resolve(self, name: str, target: object) -> object:
        if not isinstance(target, str):
            return target
        module_name, _, attribute = target.partition(":")
        title = f"{self.title} {name!r}{self._package(name)}"
        if not _TARGET.fullmatch(target):
            raise UserError(
                f"{title} leads to {target!r}, which is not module:attribute; repair it"
            )
        with others_code(f"{title}: {module_name}", own=module_name.startswith("jepawm.")):
            try:
                found: object = import_module(module_name)
            except ModuleNotFoundError as error:
                if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
                    raise UserError(
                        f"{title} needs the module {error.name!r}, which is not installed; "
                        "install it"
                    ) from error
                raise UserError(
                    f"{title}: there is no module {error.name!r}; install its package, or run "
                    "where Python finds it (PYTHONPATH)"
                ) from error
            for part in attribute.split("."):
                if not hasattr(found, part):
                    raise UserError(f"{title}: module {module_name} has no {attribute}")
                found = getattr(found, part)
        return found

    def _package(self, name: str) -> str:
        """Return which installed package brings a name, for messages; empty if none does."""
        if name in self._targets or name in self._registered:
            return ""
        for point in _installed_points():
            if (point.group, point.name) == (
                f"jepawm.{self.kind}",
                name,
            ) and point.dist is not None:
                return f" of the package {point.dist.name!r}"
        return ""

    def _checked(self, name: str, found: object) -> object:
        self._check(name, found)
        return found

    def _check(self, name: str, found: object) -> None:
        lack = self._rule(found)
        if lack is not None:
            raise UserError(
                f"{self.title} {name!r} is not usable: {lack}; docs/extending.md says what a "
                f"{self.title} is"
            )


class others_code:  # noqa: N801 (read as a word: `with others_code(...)`)
    """Turn whatever other people's code raises inside the block into a message that names it."""

    def __init__(self, what: str, *, own: bool = False) -> None:
        """Take what runs, in words; code of this library (`own`) has faults and no excuse."""
        self._what, self._own = what, own

    def __enter__(self) -> None:
        """Do nothing."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Name the code that raised."""
        if (
            self._own
            or isinstance(error, UserError)
            or not isinstance(error, Exception | SystemExit)
        ):
            return
        reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        last = extract_tb(trace)[-1]
        raise UserError(
            f"{self._what} does not work here ({plain_text(reason)}, in line {last.lineno} of "
            f"{last.filename}); repair, update or uninstall it"
        ) from error


def _installed_points() -> tuple[EntryPoint, ...]:
    """Return the plug-ins of all installed packages, searched again only where folders changed."""
    return _points_of(tuple((folder, _changed(folder)) for folder in sys.path))


@lru_cache(maxsize=2)
def _points_of(_folders: tuple[tuple[str, int], ...]) -> tuple[EntryPoint, ...]:
    points = entry_points()
    groups = sorted(group for group in points.groups if group.startswith("jepawm."))
    return tuple(point for group in groups for point in points.select(group=group))


def _changed(folder: str) -> int:
    """Return when a folder last gained or lost a file, in nanoseconds; 0 where there is none."""
    try:
        return Path(folder).stat().st_mtime_ns
    except (OSError, ValueError):
        return 0


def _target_of(point: EntryPoint) -> str:
    """Return `module:attribute` of an entry point, which may be followed by extras."""
    return point.value.partition("[")[0].replace(" ", "")


def configuration(*methods: str) -> Rule:
    """Ask for a frozen dataclass with these attributes: a part that is its own configuration."""

    def lack(found: object) -> str | None:
        if not isinstance(found, type) or not is_dataclass(found):
            return f"{_describe(found)} is not a dataclass; it must be a class made by dataclass(frozen=True)"
        if not found.__dataclass_params__.frozen:  # pyright: ignore[reportAttributeAccessIssue]
            return f"{_describe(found)} can be changed; make it by dataclass(frozen=True)"
        if "name" in {one.name for one in fields(found)}:
            return f"{_describe(found)} has a field called name, which is taken in experiment.json"
        return _missing(found, methods)

    return lack


def function_or(rule: Rule) -> Rule:
    """Ask for a function, or a class that keeps the rule."""

    def lack(found: object) -> str | None:
        if callable(found) and not isinstance(found, type):
            return None
        return rule(found)

    return lack


def function(found: object) -> str | None:
    """Ask for anything that can be called."""
    return None if callable(found) else f"{_describe(found)} cannot be called"


def value(*attributes: str) -> Rule:
    """Ask for an object, not a class, with these attributes."""

    def lack(found: object) -> str | None:
        if isinstance(found, type):
            return f"{_describe(found)} is a class; name an object of it"
        return _missing(found, attributes)

    return lack


def count_as_named(*names: str) -> None:
    """Count the module in each `module:attribute`, or `family:module:attribute`, as named."""
    for name in names:
        module = name.rpartition(":")[0]
        _NAMED.update(one for one in (module, module.rpartition(":")[2]) if one)


def _missing(found: object, names: tuple[str, ...]) -> str | None:
    absent = [name for name in names if not hasattr(found, name)]
    return f"{_describe(found)} has no {', '.join(absent)}" if absent else None


def _describe(found: object) -> str:
    return found.__qualname__ if isinstance(found, type) else repr(found)[:80]


def _module_of(target: object) -> str:
    if isinstance(target, str):
        return target.partition(":")[0]
    return getattr(target, "__module__", None) or type(target).__module__


def _is_named(module: str) -> bool:
    """Return whether the user named this package, or installed a plug-in that is part of it."""
    plugins = {_target_of(point).partition(":")[0] for point in _installed_points()}
    packages = {named.partition(".")[0] for named in _NAMED | plugins} - {"jepawm"}
    return module.partition(".")[0] in packages


def _loaded(target: object) -> object:
    """Return what a target stands for if its module is imported already; None if it is not."""
    if not isinstance(target, str):
        return None
    module, _, attribute = target.partition(":")
    return getattr(sys.modules.get(module), attribute, None)
