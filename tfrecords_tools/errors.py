"""The errors that a user can mend, and the exit codes they end a command with."""


class InputError(ValueError):
    """Data that cannot be used. Its message is one line: what, where, and what to do."""

    exit_code = 1


class UsageError(InputError):
    """A command, option or experiment file that asks for what cannot be."""

    exit_code = 2


class ConvertError(InputError):
    """A conversion that cannot go on."""
