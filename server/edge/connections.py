"""What the web server grants a connection: deadlines for all it waits for, a place, an end where bytes are in doubt.

uvicorn's protocol alone waits for ever: for a head, for a body that nobody reads, for a client that reads nothing.
"""

import asyncio
import contextlib
import re
import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import h11
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from beamhouse.config.settings import ServerSettings
from beamhouse.schemas.words import ErrorCode
from beamhouse.server.admission import TURNED_AWAY
from beamhouse.server.edge.dialects import problem_dialect, response_of
from beamhouse.server.edge.errors import problem_json
from beamhouse.server.edge.request_id import HEADER, RequestId

PROBES = frozenset({"/health", "/health/live", "/health/ready"})
PROBE_PLACES = 16
"""Connections beyond the bound, on which probes are answered and everything else is refused."""
LINGER_S = 5.0  # seconds of a body that goes on arriving after its answer
LINGER_SILENCE_S = 0.5  # seconds without a piece of such a body
BLANK_LINE = re.compile(rb"\n\r?\n")
LENGTH = re.compile(rb"^content-length[ \t]*:(.*)$", re.IGNORECASE | re.MULTILINE)
CLOSE = (b"connection", b"close")


@dataclass(frozen=True, slots=True)
class Bounds:
    """max_connections: of all together. head_timeout_s: from the first wait to a whole head. write_timeout_s: without
    a byte that the client takes."""

    max_connections: int
    head_timeout_s: float
    write_timeout_s: float

    @classmethod
    def of(cls, settings: ServerSettings, max_connections: int) -> "Bounds":
        return cls(max_connections, settings.head_timeout_s, settings.write_timeout_s)


class Connection(H11Protocol):
    """One connection. Where there are too many, the one that has been idle longest gives way to a new one."""

    def __init__(self, bounds: Bounds, **of_uvicorn: Any) -> None:
        super().__init__(**of_uvicorn)
        self.app = self._guarded
        self._bounds = bounds
        self._head = bytearray()  # what has arrived of the head that is awaited
        self._repeats_length = False
        self._is_beyond = False
        self._idle_since = 0.0
        self._head_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None

    @property
    def is_idle(self) -> bool:
        """Whether no request is being answered."""
        return self.cycle is None or self.cycle.response_complete

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]  # a stream's transport is never another one
        self._idle_since = time.monotonic()
        self._await_head()
        self._make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop(self._head_timer)
        self._stop(self._write_timer)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.conn.their_state is h11.IDLE:
            self._head += data
        super().data_received(data)

    def handle_events(self) -> None:
        before = self.cycle
        super().handle_events()
        if self.cycle is not before:
            self._repeats_length = repeats_length(bytes(self._head))
            self._head.clear()
        self._await_head()

    def on_response_complete(self) -> None:
        self._idle_since = time.monotonic()
        self._head = bytearray(self.conn.trailing_data[0])
        super().on_response_complete()
        if self.transport.is_closing():
            self._leave()

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self._leave()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch_writing(self._bounds.write_timeout_s)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stop(self._write_timer)

    def send_400_response(self, msg: str) -> None:
        """Answer what is not HTTP. Called while the error is being handled, which knows a better status."""
        error = sys.exception()
        status = error.error_status_hint if isinstance(error, h11.RemoteProtocolError) else 400
        code = ErrorCode.HEADERS_TOO_LARGE if status == 431 else ErrorCode.MALFORMED_REQUEST
        self._answer_and_leave(status, code, f"this is not a valid request of HTTP/1.1: {error or msg}")

    def _await_head(self) -> None:
        """Count from when a head is due: at once on a new connection, later from its first byte."""
        is_due = self.conn.their_state is h11.IDLE and self.is_idle and (self.cycle is None or bool(self._head))
        if not is_due:
            self._stop(self._head_timer)
            self._head_timer = None
        elif self._head_timer is None:
            self._head_timer = self.loop.call_later(self._bounds.head_timeout_s, self._give_up_head)

    def _give_up_head(self) -> None:
        if self._head:
            message = f"the head of the request did not arrive within {self._bounds.head_timeout_s:g} seconds"
            self._answer_and_leave(408, ErrorCode.HEAD_TIMEOUT, message)
        else:
            self._leave()

    def _watch_writing(self, seconds: float) -> None:
        """End the connection unless the client takes something in this time."""
        self._stop(self._write_timer)
        size = self.transport.get_write_buffer_size()
        self._write_timer = self.loop.call_later(seconds, self._check_writing, size)

    def _check_writing(self, size: int) -> None:
        if self.transport.get_write_buffer_size() < size:
            self._watch_writing(self._bounds.write_timeout_s)
        else:
            self.transport.abort()

    def _leave(self) -> None:
        """Close, and do not wait for ever until the client has taken the last words."""
        self.transport.close()
        self._watch_writing(self._bounds.write_timeout_s)

    @staticmethod
    def _stop(timer: asyncio.TimerHandle | None) -> None:
        if timer is not None:
            timer.cancel()

    def _make_room(self) -> None:
        """Find this new connection a place: that of the idlest one, one for probes alone, or none."""
        most = self._bounds.max_connections
        if len(self.connections) <= most:
            return
        others = [one for one in self.connections if isinstance(one, Connection) and not one.transport.is_closing()]
        if len(others) <= most:
            return
        idle = [one for one in others if one is not self and one.is_idle]
        if idle:
            min(idle, key=lambda one: one._idle_since)._leave()
        elif len(others) <= most + PROBE_PLACES:
            self._is_beyond = True
        else:
            self._answer_and_leave(503, ErrorCode.TOO_MANY_CONNECTIONS, f"{most} connections are in use")

    async def _guarded(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The application, behind what only the connection knows of a request."""
        app, must_close = self._refusal(scope), True
        if app is None:
            app, must_close = self.config.loaded_app, False
        is_cut = False

        async def send_and_close(message: Message) -> None:
            nonlocal is_cut
            if message["type"] == "http.response.start":
                is_cut = self.conn.their_state is h11.SEND_BODY
                if is_cut or must_close:
                    others = [pair for pair in message.get("headers", ()) if pair[0].lower() != CLOSE[0]]
                    message = {**message, "headers": [*others, CLOSE]}
            elif is_cut and not message.get("more_body", False):
                await send({**message, "more_body": True})
                if not self._is_beyond:
                    await self._linger(receive)
                message = {"type": "http.response.body", "body": b"", "more_body": False}
            await send(message)

        await app(scope, receive, send_and_close)

    def _refusal(self, scope: Scope) -> ASGIApp | None:
        """What answers instead of the application, if it must not see this request."""
        names = {name for name, _ in scope["headers"]}
        if self._is_beyond and len(self.connections) > self._bounds.max_connections and scope["path"] not in PROBES:
            most = self._bounds.max_connections
            return refusal(
                503, ErrorCode.TOO_MANY_CONNECTIONS, f"{most} connections are in use; this one is for probes alone"
            )
        if {b"content-length", b"transfer-encoding"} <= names:
            return refusal(400, ErrorCode.AMBIGUOUS_LENGTH, "Content-Length and Transfer-Encoding exclude each other")
        if self._repeats_length:
            return refusal(400, ErrorCode.AMBIGUOUS_LENGTH, "Content-Length is given more than once")
        return None

    async def _linger(self, receive: Receive) -> None:
        """Read on for a while: closed with bytes unread, a connection is reset, and the answer lost on its way."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LINGER_S):
                while self.conn.their_state is h11.SEND_BODY:
                    async with asyncio.timeout(LINGER_SILENCE_S):
                        if (await receive())["type"] == "http.disconnect":
                            return

    def _answer_and_leave(self, status: int, code: ErrorCode, detail: str) -> None:
        """Answer outside of any request of the application; where its answer has begun, only close."""
        if self.cycle is not None and not self.is_idle:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            request_id = uuid.uuid4().hex
            problem = problem_json(status=status, code=code, detail=detail, request_id=request_id)
            answer = response_of(problem_dialect(problem), retry_headers(status) | {HEADER: request_id})
            headers = [*self.server_state.default_headers, *answer.raw_headers, CLOSE]
            for event in (
                h11.Response(status_code=status, headers=headers, reason=problem.title.encode()),
                h11.Data(data=bytes(answer.body)),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(event) or b"")
        self._leave()


def refusal(status: int, code: ErrorCode, detail: str) -> ASGIApp:
    """An application that answers everything with one problem."""

    async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
        problem = problem_json(status=status, code=code, detail=detail, request_id=scope["state"]["request_id"])
        await response_of(problem_dialect(problem), retry_headers(status))(scope, receive, send)

    return RequestId(refuse)


def retry_headers(status: int) -> dict[str, str]:
    return {"Retry-After": "1"} if status in TURNED_AWAY else {}


def repeats_length(head: bytes) -> bool:
    """Whether a head says its length twice, be it the same one: h11 joins such fields before anybody sees them."""
    end = BLANK_LINE.search(head)
    lengths = LENGTH.findall(head[: end.start()] if end else head)
    return len(lengths) > 1 or any(b"," in length for length in lengths)


def protocol(bounds: Bounds) -> Callable[..., Connection]:
    """What uvicorn makes a connection with."""
    return lambda **of_uvicorn: Connection(bounds, **of_uvicorn)
