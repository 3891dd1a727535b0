"""Server-sent events on the way to one client, through sse-starlette: it fills silence with comments, gives up a client
that does not read, and notices one that hangs up."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass

import anyio
from sse_starlette import EventSourceResponse, ServerSentEvent
from sse_starlette.sse import SendTimeoutError
from starlette.types import Message, Receive, Scope, Send

PART_BYTES = 2**18


@dataclass(frozen=True, slots=True)
class Patience:
    """ping_s: between two comments. write_timeout_s: how long the client may leave a part unread."""

    ping_s: float
    write_timeout_s: float


class EventStream(EventSourceResponse):
    """Sends bytes of whole events as they come. However it ends, `close` is called, once.

    Hanging up ends it; a client that does not read ends it with TimeoutError.
    """

    def __init__(self, events: AsyncGenerator[bytes, None], close: Callable[[], None], patience: Patience) -> None:
        super().__init__(
            events,
            headers={"Cache-Control": "no-cache"},
            ping=patience.ping_s,
            ping_message_factory=lambda: ServerSentEvent(comment="ping", sep="\n"),
        )
        self._close = close
        self._write_timeout_s = patience.write_timeout_s
        self._sending = anyio.CancelScope()
        self._turn = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            with self._sending:
                await super().__call__(scope, receive, send)
            if self._sending.cancelled_caught:
                raise SendTimeoutError(f"a part of a stream was not read within {self._write_timeout_s:g} s")
        finally:
            self._close()

    async def _send_with_timeout(self, send: Send, message: Message) -> None:
        """A long answer goes out in parts, each with the whole patience, and no comment comes between two of them.

        Not needed once the library sends data and comments in turn, as it does the end, and times a message with less
        than a cancel scope of its own, which costs more than the rest of its way.
        """
        async with self._turn:
            for part in parts(message):
                timer = asyncio.get_running_loop().call_later(self._write_timeout_s, self._sending.cancel)
                try:
                    await send(part)
                finally:
                    timer.cancel()

    @staticmethod
    async def _listen_for_exit_signal() -> None:
        """Never: how long streams may go on after a signal, the server decides, and what ends them is the engine.

        Not needed once the library can be told so without a change that holds for the whole process.
        """
        await anyio.sleep_forever()


def parts(message: Message) -> list[Message]:
    body = message.get("body", b"")
    if len(body) <= PART_BYTES:
        return [message]
    return [{**message, "body": body[start : start + PART_BYTES]} for start in range(0, len(body), PART_BYTES)]
