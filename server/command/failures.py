"""What ends a command with one line for people."""


class CommandFailed(Exception):
    """The command could not do what it was asked; the text says why."""
