"""Configurations from plain JSON, every field checked: nothing is converted, nothing is ignored."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import cast

import cattrs
from cattrs.errors import BaseValidationError, ForbiddenExtraKeysError
from cattrs.v import format_exception

from jepawm.errors import UserError
from jepawm.registry import Registry


def strict_converter() -> cattrs.Converter:
    """Return a converter that takes plain values as they are and refuses unknown fields."""
    converter = cattrs.Converter(forbid_extra_keys=True)
    for kind in (bool, int, float, str):
        converter.register_structure_hook(kind, _plain)
    return converter


@dataclass(frozen=True, kw_only=True)
class Unnamed:
    """Built-in classes that are written without a name."""

    kinds: tuple[type, ...]
    """The classes."""
    choose: Callable[[Mapping[str, object]], type]
    """Which of them some JSON is."""


def register_named(
    converter: cattrs.Converter,
    protocol: type,
    *,
    registry: Registry,
    trust: bool,
    unnamed: Unnamed | None = None,
) -> None:
    """Write parts that satisfy a protocol as their name and settings, and back.

    Args:
        converter: gets the rules.
        protocol: the type of the fields that hold such parts.
        registry: knows the names; `module:Class` is the name of a class without one.
        trust: import a module that only the JSON names.
        unnamed: built-in classes that are written without a name; None: there are none.
    """

    def to_json(part: object) -> dict[str, object]:
        assert is_dataclass(part)
        settings = {
            one.name: converter.unstructure(getattr(part, one.name)) for one in fields(part)
        }
        if unnamed is not None and type(part) in unnamed.kinds:
            return settings
        return {"name": registry.name_of(part), **settings}

    def from_json(data: object, _kind: type) -> object:
        if isinstance(data, dict) and "name" not in data and unnamed is not None:
            return converter.structure(data, unnamed.choose(data))
        if not isinstance(data, dict) or not isinstance(data.get("name"), str):
            raise ValueError(f"{registry.title} needs a name")
        name = data["name"]
        if not trust:
            registry.require_named(name)
        settings = {key: value for key, value in data.items() if key != "name"}
        return converter.structure(settings, cast(type, registry.get(name)))

    converter.register_unstructure_hook_func(lambda kind: kind is protocol, to_json)
    converter.register_structure_hook_func(lambda kind: kind is protocol, from_json)


def problems(error: BaseValidationError | ForbiddenExtraKeysError) -> str:
    """Say which fields are wrong, and how."""
    return "; ".join(cattrs.transform_error(error, format_exception=_problem))


def _plain(value: object, kind: type) -> object:
    """Take a plain value as it is: no text becomes a number, no text becomes true."""
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not kind:
        raise ValueError(f"{value!r} is no {kind.__name__}")
    return value


def _problem(error: BaseException, kind: object) -> str:
    """Say what is wrong with one field."""
    if isinstance(error, UserError | ValueError) or " not in literal " in str(error):
        return str(error)
    return format_exception(error, cast(type, kind))
