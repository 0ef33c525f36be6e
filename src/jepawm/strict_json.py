"""Configurations from plain JSON, every field checked: nothing is converted, nothing is ignored."""

from dataclasses import fields, is_dataclass
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


def register_named(converter: cattrs.Converter, protocol: type, *, registry: Registry) -> None:
    """Write parts that satisfy a protocol as their registered name and settings, and back."""

    def to_json(part: object) -> dict[str, object]:
        assert is_dataclass(part)
        settings = {
            one.name: converter.unstructure(getattr(part, one.name)) for one in fields(part)
        }
        return {"name": registered_name(part, registry), **settings}

    def from_json(data: object, _kind: type) -> object:
        if not isinstance(data, dict) or not isinstance(data.get("name"), str):
            raise ValueError(f"{registry.kind} needs a name")
        kind = registry.get(data["name"])
        settings = {key: value for key, value in data.items() if key != "name"}
        return converter.structure(settings, cast(type, kind))

    converter.register_unstructure_hook_func(lambda kind: kind is protocol, to_json)
    converter.register_structure_hook_func(lambda kind: kind is protocol, from_json)


def registered_name(part: object, registry: Registry) -> str:
    """Return the name under which the class of a part is registered.

    Raises:
        UserError: if it is not.
    """
    for name in registry.names():
        if registry.get(name) is type(part):
            return name
    raise UserError(
        f"{registry.kind} {type(part).__name__} has no name; register it under "
        f"jepawm.{registry.kind}"
    )


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
