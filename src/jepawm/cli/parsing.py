"""Parse a command line in stages: names of parts first, then the fields of the parts they name."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, make_dataclass, replace
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args, get_type_hints

import tyro

from jepawm.cli.output import Result
from jepawm.errors import UserError

Options = TypeVar("Options")
Config = TypeVar("Config")


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


def parse(
    options: Callable[..., Options],
    argv: Sequence[str],
    *,
    verb: str,
    description: str,
    parts: Mapping[str, object],
) -> tuple[Options, dict[str, object]]:
    """Parse `argv` into the verb's own options and the given parts.

    A part is a dataclass instance that holds the defaults; its fields become `--<name>.<field>`,
    or `--<field>` if its name is empty. A wrong option ends the program with code 2.
    """
    switches = tyro.conf.FlagCreatePairsOff[_named(options, "")]
    columns: list[tuple[str, object, Any]] = [("options", switches, field())]
    columns += [
        (name or "root", _named(type(part), name), field(default=part))
        for name, part in parts.items()
    ]
    everything = make_dataclass("everything", columns, kw_only=True)
    parsed = tyro.cli(
        everything,
        prog=f"jepawm {verb}",
        args=list(argv),
        description=description,
        config=(tyro.conf.AvoidSubcommands,),
    )
    chosen = {name: getattr(parsed, name or "root") for name in parts}
    return _with_names(parsed.options), chosen


def _with_names(options: Options) -> Options:
    """Return options whose folders have names of their own: `.` and `..` are written out.

    What is written beside a folder first is called after it.
    """
    changed: dict[str, object] = {}
    for one in fields(options):  # pyright: ignore[reportArgumentType]
        value = getattr(options, one.name)
        if not isinstance(value, Path) and (one.name != "source" or not isinstance(value, str)):
            continue
        if Path(value).name in ("", ".."):
            path = Path(os.path.abspath(value))  # noqa: PTH100 - no links are followed
            if not path.name and one.name == "out":
                raise UserError(f"--out {path} is the root of the disk; give a folder below it")
            changed[one.name] = type(value)(path)
    return replace(options, **changed) if changed else options  # pyright: ignore[reportArgumentType]


def take_option(name: str, argv: Sequence[str]) -> tuple[str | None, list[str]]:
    """Take `--name VALUE` out of `argv`; returns the value (None if absent) and the rest."""
    value, rest = None, []
    tokens = iter(argv)
    for token in tokens:
        if token == name:
            value = next(tokens, "--")
            if value.startswith("-"):
                raise UserError(f"{name} needs a name after it; see --help")
        elif token.startswith(f"{name}="):
            value = token.removeprefix(f"{name}=")
        else:
            rest.append(token)
    return value, rest


def first_name(argv: Sequence[str], *, known: Sequence[str]) -> str | None:
    """Return the name that a command line is about: its first word, else the first known word."""
    if argv and not argv[0].startswith("-"):
        return argv[0]
    return next((token for token in argv if token in known), None)


def wants_help(argv: Sequence[str]) -> bool:
    """Return whether the user asks for help."""
    return "-h" in argv or "--help" in argv


def open_choices(config: Config) -> Config:
    """Return an equal config whose fields of several types take the type of what they hold.

    Such a field is typed by a Protocol or by a union of dataclasses. The command line can then set
    the fields of, for example, the planner that a recipe holds.
    """
    opened = {name: _opened(getattr(config, name), hint) for name, hint in _open_hints(config)}
    columns = [(name, type(value), field(default=value)) for name, value in opened.items()]
    kind = make_dataclass(
        type(config).__name__, columns, bases=(type(config),), frozen=True, kw_only=True
    )
    return kind(**_shallow(config) | opened)


def close_choices(config: object, kind: type[Config]) -> Config:
    """Return the config that `open_choices` opened to its own type."""
    values = _shallow(config)
    for name, hint in get_type_hints(kind).items():
        if is_dataclass(hint) and isinstance(hint, type) and type(values.get(name)) is not hint:
            values[name] = close_choices(values[name], hint)
    return kind(**values)


def _open_hints(config: object) -> list[tuple[str, object]]:
    """List the fields that are, or contain, a choice."""
    return [
        (name, hint)
        for name, hint in get_type_hints(type(config)).items()
        if _is_choice(hint) or (is_dataclass(hint) and _open_hints(getattr(config, name)))
    ]


def _opened(value: object, hint: object) -> object:
    return value if _is_choice(hint) else open_choices(value)


def _is_choice(hint: object) -> bool:
    """Return whether a field is typed by a Protocol or by a union of dataclasses."""
    return getattr(hint, "_is_protocol", False) or all(map(is_dataclass, get_args(hint) or [0]))


def _shallow(config: object) -> dict[str, object]:
    columns = fields(config)  # pyright: ignore[reportArgumentType]
    return {one.name: getattr(config, one.name) for one in columns if one.init}


def _named(kind: object, name: str) -> object:
    return Annotated[kind, tyro.conf.arg(name=name)]  # pyright: ignore[reportInvalidTypeForm]
