"""The one exception that a user can cause and fix."""


class UserError(Exception):
    """Report something that the user can change: a file, a field, a value.

    The message says what is wrong, where, and what to do. The command line prints it without a
    traceback and exits with code 2.
    """
