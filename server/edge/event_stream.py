"""Server-sent events on the way to one client: comments in silence, and an end when nobody reads or listens.

Every token of every stream comes by here, so a piece costs one timer beside its way to the socket.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

COMMENT = b": ping\n\n"
HEADERS = {"Cache-Control": "no-cache", "Connection": "keep-alive", "X-Accel-Buffering": "no"}


@dataclass(frozen=True, slots=True)
class Patience:
    """ping_s: between two comments. write_timeout_s: how long the client may leave a piece unread."""

    ping_s: float
    write_timeout_s: float


class EventStream(Response):
    """Sends pieces of whole events as they come. However it ends, `close` is called, once.

    Hanging up ends it; a client that does not read ends it with TimeoutError.
    """

    media_type = "text/event-stream"

    def __init__(self, pieces: AsyncGenerator[bytes, None], close: Callable[[], None], patience: Patience) -> None:
        self.status_code = 200
        self.background = None
        self.init_headers(HEADERS)
        self._pieces, self._close, self._patience = pieces, close, patience

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            writer = Writer(send, self._patience.write_timeout_s)
            running = [
                asyncio.ensure_future(self._write(writer)),
                asyncio.ensure_future(self._fill_silence(writer)),
                asyncio.ensure_future(wait_for_hang_up(receive)),
            ]
            try:
                done, _ = await asyncio.wait([*running, writer.stalled], return_when=asyncio.FIRST_COMPLETED)
            finally:
                for one in (*running, writer.stalled):
                    one.cancel()
                await asyncio.gather(*running, writer.stalled, return_exceptions=True)
            for one in done:
                one.result()
        finally:
            self._close()

    async def _write(self, writer: "Writer") -> None:
        async with aclosing(self._pieces) as pieces:
            async for piece in pieces:
                await writer.write(piece)
        await writer.write(b"", is_last=True)

    async def _fill_silence(self, writer: "Writer") -> None:
        while True:
            await asyncio.sleep(self._patience.ping_s)
            await writer.write(COMMENT)


class Writer:
    """Sends one piece after the other. stalled: raises TimeoutError once a piece has waited for `timeout_s`."""

    def __init__(self, send: Send, timeout_s: float) -> None:
        self._send, self._timeout_s = send, timeout_s
        self._loop = asyncio.get_running_loop()
        self._turn = asyncio.Lock()
        self.stalled: asyncio.Future[None] = self._loop.create_future()

    async def write(self, piece: bytes, *, is_last: bool = False) -> None:
        async with self._turn:
            timer = self._loop.call_later(self._timeout_s, self._give_up)
            try:
                await self._send({"type": "http.response.body", "body": piece, "more_body": not is_last})
            finally:
                timer.cancel()

    def _give_up(self) -> None:
        if not self.stalled.done():
            self.stalled.set_exception(TimeoutError(f"a piece of a stream was not read within {self._timeout_s:g} s"))


async def wait_for_hang_up(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
