"""Configurations from plain JSON, every field checked: nothing is converted, nothing is ignored."""

from typing import cast

import cattrs
from cattrs.errors import BaseValidationError, ForbiddenExtraKeysError
from cattrs.v import format_exception

from jepawm.errors import UserError


def strict_converter() -> cattrs.Converter:
    """Return a converter that takes plain values as they are and refuses unknown fields."""
    converter = cattrs.Converter(forbid_extra_keys=True)
    for kind in (bool, int, float, str):
        converter.register_structure_hook(kind, _plain)
    return converter


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
