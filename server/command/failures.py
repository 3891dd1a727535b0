"""What ends a command with one line for people."""

EXIT_FAILED = 1


class CommandFailed(Exception):
    """The command could not do what it was asked; the text says why."""
