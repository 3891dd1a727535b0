"""Server-sent events: how they are written, and their way to one client through sse-starlette, which fills silence with
comments and notices a client that hangs up. One that does not read is hung up on by its connection."""

import asyncio
import re
from collections.abc import AsyncGenerator, Callable

import anyio
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.types import Message, Receive, Scope, Send

PART_BYTES = 2**18
LINE_BREAKS = {character.encode(): f"\\u{ord(character):04x}".encode() for character in "\u0085\u2028\u2029"}
"""What JSON leaves raw and the line readers of many clients cut at, and how JSON spells it otherwise."""
ANY_LINE_BREAK = re.compile(b"|".join(LINE_BREAKS))


class EventStream(EventSourceResponse):
    """Sends bytes of whole events as they come. However it ends, and hanging up ends it, `close` is called, once.

    ping_s: between two comments.
    """

    def __init__(self, events: AsyncGenerator[bytes, None], close: Callable[[], None], ping_s: float) -> None:
        super().__init__(
            events,
            headers={"Cache-Control": "no-cache"},
            ping=ping_s,
            ping_message_factory=lambda: ServerSentEvent(comment="ping", sep="\n"),
        )
        self._close = close
        self._turn = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._close()

    async def _send_with_timeout(self, send: Send, message: Message) -> None:
        """A long answer goes out in parts, so that little of it waits in the connection, and no comment comes between.

        There is no time limit here: the connection sees whether the client takes anything. Not needed once the library
        sends data and comments in turn, as it does the end.
        """
        async with self._turn:
            for part in parts(message):
                await send(part)

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
    if data.isascii():
        return data
    return ANY_LINE_BREAK.sub(lambda found: LINE_BREAKS[found[0]], data)
