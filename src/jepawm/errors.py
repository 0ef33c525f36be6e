"""The one exception that a user can cause and fix, and foreign texts in its message."""

import math
import reprlib
import unicodedata
from collections.abc import Iterable
from dataclasses import fields, is_dataclass


class UserError(Exception):
    """Report something that the user can change: a file, a field, a value.

    The message says what is wrong, where, and what to do. The command line prints it without a
    traceback and exits with code 2.
    """


def missing_extra(what: str, error: Exception, *, package: str, extra: str) -> UserError:
    """Return the error that names the extra whose package did not import.

    Args:
        what: what needs it, in words.
        error: what importing it raised.
        package: name of the package.
        extra: extra of this package that installs it.
    """
    absent = isinstance(error, ModuleNotFoundError) and error.name == package
    state = "is not installed" if absent else f"does not load ({error})"
    return UserError(f"{what} needs {package}, which {state}; run: pip install 'jepawm[{extra}]'")


def require_range(
    part: object,
    names: Iterable[str],
    *,
    where: str,
    least: float | int,
    most: float | int = 10**12,
) -> None:
    """Check fields that must be finite numbers of a range, or None.

    Args:
        part: what has the fields.
        names: their names.
        where: how messages call the part.
        least: smallest value.
        most: largest value.
    """
    for name in names:
        value = getattr(part, name)
        if value is not None and not least <= value <= most:
            raise UserError(f"{where}.{name} = {value}; give a number from {least} to {most}")


def require_numbers(part: object, path: str) -> None:
    """Refuse NaN, infinity and what is too large for exact JSON, in every part."""
    if is_dataclass(part):
        for one in fields(part):
            require_numbers(getattr(part, one.name), f"{path}.{one.name}".strip("."))
    elif isinstance(part, list | tuple):
        for number, one in enumerate(part):
            require_numbers(one, f"{path}[{number}]")
    elif isinstance(part, float) and not math.isfinite(part):
        raise UserError(f"{path} = {part}; give a finite number")
    elif isinstance(part, int) and abs(part) >= 2**53:
        raise UserError(f"{path} = {part}; give a whole number below 2**53")


def plain_text(text: str) -> str:
    """Return a foreign text made harmless for terminals: what moves a cursor is shown as its code."""
    return "".join(
        one if one.isprintable() or unicodedata.category(one) == "Zs" else _escaped(one)
        for one in text
    )


def show(value: object) -> str:
    """Return a foreign value as a short text for a message."""
    if isinstance(value, str | int | float | list | tuple | dict | None):
        return plain_text(reprlib.repr(value))
    return f"of type {type(value).__name__}"


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
