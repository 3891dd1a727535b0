"""One life of the engine process as the HTTP process holds it: the child, the socket, the private directory."""

import asyncio
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field

from beamhouse.engine.link.child import Child
from beamhouse.engine.link.frames import Frames, framed
from beamhouse.engine.link.launch import Launch
from beamhouse.engine.link.messages import Inbound, Submission, encode
from beamhouse.engine.link.sharing import Shortener


class EngineSocket(asyncio.Protocol):
    """This process's end of the socket to the engine. over: set once everything the other side said was taken."""

    def __init__(self, take: Callable[[bytes], None]) -> None:
        self._take = take
        self._frames = Frames()
        self.over = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        for message in self._frames.feed(data):
            self._take(message)

    def connection_lost(self, error: Exception | None) -> None:
        self.over.set()


@dataclass(slots=True)
class Life:
    """directory: private to the two processes. fault: why the process was ended before its time."""

    child: Child
    directory: str
    transport: asyncio.Transport
    connection: EngineSocket
    fault: str | None = None
    shortener: Shortener = field(default_factory=Shortener)

    @classmethod
    async def begin(cls, child: Child, take: Callable[[bytes], None]) -> "Life":
        """take: gets each message of the process. The child is closed if its socket cannot be used."""
        try:
            transport, connection = await asyncio.get_running_loop().create_unix_connection(
                lambda: EngineSocket(take), sock=child.socket
            )
            return cls(child, tempfile.mkdtemp(prefix="beamhouse-"), transport, connection)
        except BaseException:
            child.close()
            raise

    @property
    def hears(self) -> bool:
        return not self.transport.is_closing()

    def say(self, message: Inbound | Launch) -> None:
        """Send it; a process that is gone hears nothing, and that it is gone is noticed by its end."""
        if isinstance(message, Submission):
            message = self.shortener.shorten(message)
        data = framed(encode(message))
        if self.hears:
            self.transport.write(data)

    def end(self, fault: str) -> None:
        """End the process now, whatever it is doing."""
        self.fault = fault
        self.child.kill()

    async def clear(self) -> None:
        """Make sure that the process and all it used are gone."""
        self.child.kill()
        await self.child.ended()
        self.transport.abort()
        self.child.close()
        shutil.rmtree(self.directory, ignore_errors=True)
