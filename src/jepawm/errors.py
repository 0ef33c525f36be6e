"""The one exception that a user can cause and fix."""


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
