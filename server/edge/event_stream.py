"""Server-sent events: how they are written, and their way to one client through sse-starlette, which fills silence with
comments, gives up a client that does not read, and notices one that hangs up."""

import asyncio
import re
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass

import anyio
from sse_starlette import EventSourceResponse, ServerSentEvent
from sse_starlette.sse import SendTimeoutError
from starlette.types import Message, Receive, Scope, Send

PART_BYTES = 2**18
LINE_BREAKS = {character.encode(): f"\\u{ord(character):04x}".encode() for character in "\u0085\u2028\u2029"}
"""What JSON leaves raw and the line readers of many clients cut at, and how JSON spells it otherwise."""
ANY_LINE_BREAK = re.compile(b"|".join(LINE_BREAKS))


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


def as_event(name: bytes, data: bytes) -> bytes:
    """An event with a name. data: JSON in UTF-8."""
    return b"event: " + name + b"\ndata: " + one_line(data) + b"\n\n"


def as_data(data: bytes) -> bytes:
    """An event without a name. data: JSON in UTF-8."""
    return b"data: " + one_line(data) + b"\n\n"


def one_line(data: bytes) -> bytes:
    """JSON that no reader of lines takes for several. data: JSON in UTF-8, which escapes all of ASCII's breaks."""
    return ANY_LINE_BREAK.sub(lambda found: LINE_BREAKS[found[0]], data)
