"""The engine process as its parent holds it. Imports the standard library alone: it starts before all else is there."""

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from typing import BinaryIO, cast

COMMAND = (sys.executable, "-m", "beamhouse.engine")


class Child:
    """A process that imports what it needs, then waits for its first message. It ends when its standard input does.

    socket: this side of that input, which takes its answers too. output: all it prints, if that is captured; else it
    goes where this process prints. Whoever makes one closes it, and reads its output.
    """

    def __init__(self, command: Sequence[str] = COMMAND, *, is_captured: bool = False) -> None:
        self.socket, theirs = socket.socketpair()
        with theirs:
            # A session of its own: Ctrl-C reaches the parent alone, which then ends the engine in order.
            self._process = subprocess.Popen(
                command,
                stdin=theirs.fileno(),
                stdout=subprocess.PIPE if is_captured else None,
                stderr=subprocess.STDOUT if is_captured else None,
                start_new_session=True,
            )

    @property
    def output(self) -> BinaryIO | None:
        return cast("BinaryIO | None", self._process.stdout)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """None while it runs."""
        return self._process.poll()

    async def ended(self) -> int:
        """Wait for its end; the exit status. Several may wait at once."""
        if (status := self.returncode) is not None:
            return status
        loop, over = asyncio.get_running_loop(), asyncio.Event()
        handle = os.pidfd_open(self.pid)
        loop.add_reader(handle, over.set)
        try:
            await over.wait()
        finally:
            loop.remove_reader(handle)
            os.close(handle)
        return self._process.wait()

    def kill(self) -> None:
        """End it now; does nothing once it has ended."""
        self._process.kill()

    def close(self) -> None:
        """Make sure that it is gone. Later calls do nothing."""
        self.kill()
        self._process.wait()
        self.socket.close()
