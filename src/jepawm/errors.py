"""The one exception that a user can cause and fix, and foreign texts in its message."""

import reprlib
import unicodedata


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
