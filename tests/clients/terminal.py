"""A command in a pseudo-terminal: what is typed into it, and what it shows."""

import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.deploy.processes import LONG_S, ROOT

CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")


class Terminal:
    """seen: all that was shown until now, without colours."""

    def __init__(self, process: subprocess.Popen[bytes], master: int) -> None:
        self.process, self.master = process, master
        self.seen = ""
        self.read_to = 0

    def type(self, line: str) -> None:
        os.write(self.master, f"{line}\n".encode())

    def interrupt(self) -> None:
        os.write(self.master, b"\x03")

    def leave(self) -> None:
        os.write(self.master, b"\x04")

    def until(self, shown: str) -> str:
        """All that is shown behind what was asked for last, up to and with this text."""
        end = time.monotonic() + LONG_S
        while (found := self.seen.find(shown, self.read_to)) < 0:
            assert time.monotonic() < end, f"{shown!r} is not shown; seen: {self.seen[self.read_to :]!r}"
            if select.select([self.master], [], [], 0.2)[0]:
                try:
                    piece = os.read(self.master, 65536).decode("utf-8", "replace")
                except OSError:  # the other side is closed
                    piece = ""
                assert piece or self.process.poll() is None, f"it ended; seen: {self.seen!r}"
                self.seen += CONTROL.sub("", piece)
        begin, self.read_to = self.read_to, found + len(shown)
        return self.seen[begin : self.read_to]

    def ended(self) -> int:
        """The exit status."""
        return self.process.wait(LONG_S)


# A process of a new session takes the terminal at its input as its own, so that Ctrl-C there is a signal to it.
OWN_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


@contextmanager
def terminal(*arguments: str) -> Iterator[Terminal]:
    """`python` with these arguments."""
    master, own = pty.openpty()
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "200"}
    process = subprocess.Popen(
        [sys.executable, "-c", OWN_TERMINAL, *arguments],
        stdin=own,
        stdout=own,
        stderr=own,
        cwd=ROOT,
        env=environment,
        start_new_session=True,
    )
    os.close(own)
    try:
        yield Terminal(process, master)
    finally:
        process.kill()
        process.wait()
        os.close(master)
