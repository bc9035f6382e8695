"""Errors that a user can fix, with the exit codes of the commands that they end."""


class InputError(ValueError):
    """Data that cannot be used. The message is one line: what, where, and what to do."""

    exit_code = 1


class UsageError(InputError):
    """A command, option or experiment file that asks for something impossible."""

    exit_code = 2


class ConvertError(InputError):
    """A conversion that cannot begin, or cannot continue."""
