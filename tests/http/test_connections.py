"""Connections that are silent, halting, ambiguous or too many: raw bytes on real sockets."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import uvicorn

from beamhouse.config.settings import Settings
from beamhouse.engine.link.messages import Tokens
from beamhouse.server.app import create_app
from beamhouse.server.command.web_server import bind, uvicorn_config
from beamhouse.server.edge.connections import PROBE_PLACES
from tests.fakes import FakeEngine

pytestmark = pytest.mark.anyio
SHORT = {"head_timeout_s": 0.3, "body_timeout_s": 0.3, "keep_alive_s": 1, "write_timeout_s": 0.5}
LONG = {"head_timeout_s": 60, "body_timeout_s": 60, "keep_alive_s": 60, "write_timeout_s": 60}
PROBE = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"
ALLOWED_S = 20.0  # on a busy machine; what these tests wait for is there at once or after one of the deadlines above


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": True}


@dataclass
class Client:
    """One raw connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    seen: bytes = field(default=b"")

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def until_closed(self) -> bytes:
        """All that came until the server closed."""
        async with asyncio.timeout(ALLOWED_S):
            try:
                while piece := await self.reader.read(1 << 16):
                    self.seen += piece
            except ConnectionResetError:
                self.seen += b"(reset)"
        return self.seen

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        """The next answer: status, headers, body."""
        async with asyncio.timeout(ALLOWED_S):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
            status = int(head.split()[1])
            headers = {name.lower(): value for name, value in re.findall(r"^([\w-]+): (.*?)\r$", head, re.MULTILINE)}
            return status, headers, await self.reader.readexactly(int(headers.get("content-length", 0)))


Serve = Callable[..., Awaitable[Callable[[], Awaitable[Client]]]]


@asynccontextmanager
async def serving(engine: FakeEngine, **server: object) -> AsyncIterator[Callable[[], Awaitable[Client]]]:
    """A real server in this loop; makes connections to it."""
    settings = Settings(server={"host": "127.0.0.1", "port": 0, **server})
    clients: list[Client] = []
    with bind("127.0.0.1", 0) as listener:
        web = uvicorn.Server(uvicorn_config(create_app(engine, settings), settings))
        ended = asyncio.create_task(web.serve([listener]))

        async def connect() -> Client:
            clients.append(Client(*await asyncio.open_connection(*listener.getsockname()[:2])))
            return clients[-1]

        try:
            yield connect
        finally:
            for client in clients:
                client.writer.close()
            web.should_exit = True
            await asyncio.wait_for(ended, ALLOWED_S)


@pytest.fixture
async def serve(engine: FakeEngine) -> AsyncIterator[Serve]:
    async with AsyncExitStack() as stack:

        async def start(**server: object) -> Callable[[], Awaitable[Client]]:
            return await stack.enter_async_context(serving(engine, **server))

        yield start


def post(body: bytes, *headers: bytes, length: int | None = None) -> bytes:
    """The head of a request and what there is of its body."""
    own = b"Content-Length: %d" % (len(body) if length is None else length)
    lines = [b"POST /generate HTTP/1.1", b"Host: x", b"Content-Type: application/json", *(headers or [own])]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


async def test_a_silent_connection_is_closed_without_a_word(serve: Serve) -> None:
    connect = await serve(**SHORT)
    assert await (await connect()).until_closed() == b""


async def test_a_head_has_a_deadline_however_it_drips(serve: Serve) -> None:
    client = await (await serve(**LONG | {"head_timeout_s": 0.3}))()
    client.send(b"GET /health/live HTTP/1.1\r\n")
    dripping = asyncio.create_task(drip(client))
    seen = await client.until_closed()
    dripping.cancel()
    assert seen.startswith(b"HTTP/1.1 408 ")
    problem = json.loads(seen.partition(b"\r\n\r\n")[2])
    assert (problem["code"], problem["retryable"]) == ("head_timeout", True)


async def drip(client: Client) -> None:
    while True:
        client.send(b"X-A: b\r\n")
        await asyncio.sleep(0.02)


async def test_the_second_head_of_a_connection_has_a_deadline_too(serve: Serve) -> None:
    client = await (await serve(**LONG | {"head_timeout_s": 0.3}))()
    client.send(PROBE + b"GET /hea")
    assert (await client.answer())[0] == 200
    assert b" 408 " in await client.until_closed()


async def test_an_idle_connection_is_kept_for_a_while(serve: Serve) -> None:
    client = await (await serve(**LONG | {"keep_alive_s": 1, "head_timeout_s": 0.2}))()
    for _ in range(2):
        client.send(PROBE)
        assert (await client.answer())[0] == 200
    assert await client.until_closed() == b""


async def test_a_half_sent_body_is_answered_and_ends_the_connection(serve: Serve) -> None:
    client = await (await serve(**LONG | {"body_timeout_s": 0.3}))()
    client.send(post(b'{"inputs"', length=100))
    status, headers, body = await client.answer()
    assert (status, headers["connection"], json.loads(body)["code"]) == (408, "close", "body_timeout")
    assert await client.until_closed() == b""


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (post(b"{", length=100_000_000), 413),
        (post(b"{", length=10**19), 413),
        (post(b"{", length=50).replace(b"application/json", b"text/plain"), 415),
        (post(b"{", length=50).replace(b"/generate", b"/nowhere"), 404),
        (post(b"{", length=50).replace(b"POST", b"PUT"), 405),
        (post(b"{", length=50).replace(b"POST /generate", b"GET /health/live"), 200),
        (post(b"2\r\n{}\r\n", b"Transfer-Encoding: chunked").replace(b"/generate", b"/nowhere"), 404),
    ],
)
async def test_an_answer_to_half_a_request_ends_the_connection(serve: Serve, request_bytes: bytes, status: int) -> None:
    client = await (await serve(**LONG))()
    client.send(request_bytes)
    answer = await client.answer()
    assert (answer[0], answer[1]["connection"]) == (status, "close")
    client.send(b"more of the body")
    assert await client.until_closed() == b""


@pytest.mark.parametrize(
    "request_bytes",
    [
        post(b"0\r\n\r\n", b"Content-Length: 5", b"Transfer-Encoding: chunked"),
        post(b"{}", b"Content-Length: 2", b"Content-Length: 3"),
        post(b"{}", b"Content-Length: 2", b"Content-Length: 2"),
        post(b"{}", b"Content-Length: 2, 2"),
        post(b"{}", b"content-length : 2"),
        post(b"{}", b"Content-Length: +2"),
        post(b"x\r\n{}\r\n0\r\n\r\n", b"Transfer-Encoding: chunked"),
        post(b"2\r\n{}XX0\r\n\r\n", b"Transfer-Encoding: chunked"),
        post(b"-2\r\n{}\r\n0\r\n\r\n", b"Transfer-Encoding: chunked"),
        post(b"{}", b"Transfer-Encoding: gzip"),
        post(b"{}", b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"),
        b"GET /health/live HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET /health/live HTTP/1.1\r\n\r\n",
        b"nonsense\r\n\r\n",
    ],
)
async def test_what_could_be_read_in_two_ways_is_refused_and_nothing_behind_it_is_heard(
    serve: Serve, engine: FakeEngine, request_bytes: bytes
) -> None:
    client = await (await serve(**LONG))()
    client.send(request_bytes + PROBE)
    seen = await client.until_closed()
    assert re.match(rb"HTTP/1.1 (400|501) ", seen)
    assert seen.count(b"HTTP/1.1 ") == 1
    assert b"application/problem+json" in seen
    assert engine.submissions == []


async def test_head_and_options_leave_the_connection_to_the_next_request(serve: Serve) -> None:
    client = await (await serve(**LONG))()
    client.send(PROBE.replace(b"GET", b"HEAD") + b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n" + PROBE)
    async with asyncio.timeout(ALLOWED_S):
        head, options = [(await client.reader.readuntil(b"\r\n\r\n")).lower() for _ in range(2)]
    status, headers, _ = await client.answer()
    assert (status, b"content-length: " + headers["content-length"].encode() in head) == (200, True)
    assert b"allow: get, head, options, post, put" in options


async def test_too_large_a_head_is_named(serve: Serve) -> None:
    client = await (await serve(**LONG))()
    client.send(b"GET /health/live HTTP/1.1\r\nHost: x\r\nX-A: " + b"a" * 100_000)
    assert b'"code":"headers_too_large"' in await client.until_closed()


async def test_a_client_that_reads_nothing_is_given_up(serve: Serve, engine: FakeEngine) -> None:
    connect = await serve(**LONG | {"write_timeout_s": 0.3, "keep_alive_s": 1})
    client = await connect()
    client.writer.transport.pause_reading()
    while not client.writer.transport.is_closing():
        client.send(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 50)
        await asyncio.sleep(0.05)


async def test_a_reader_that_stops_is_hung_up_on_as_if_it_had_left(
    serve: Serve, engine: FakeEngine, logs: list[MutableMapping[str, Any]]
) -> None:
    engine.script = lambda submission: [Tokens(0, [97] * 4000) for _ in range(4000)]
    connect = await serve(**LONG | {"write_timeout_s": 0.2})
    client = await connect()
    client.writer.transport.pause_reading()
    client.send(post(b'{"inputs": "a", "stream": true}'))
    async with asyncio.timeout(ALLOWED_S):
        while not engine.cancelled:
            await engine.changed.wait()
            engine.changed.clear()
    assert engine.cancelled == [submission.request_id for submission in engine.submissions]
    other = await connect()
    other.send(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
    counted = re.findall(rb"^beamhouse_requests_total\{(.*)\} (.*)$", (await other.answer())[2], re.MULTILINE)
    assert counted == [(b'mode="greedy_search",outcome="cancelled"', b"1.0")]
    assert "request crashed" not in [line["event"] for line in logs]


async def test_new_connections_take_the_places_of_the_idlest(serve: Serve) -> None:
    connect = await serve(**LONG | {"max_connections": 4})
    oldest = await connect()
    others = [await connect() for _ in range(3)]
    others[0].send(PROBE)  # now idle since just now
    assert (await others[0].answer())[0] == 200
    newest = await connect()
    assert await oldest.until_closed() == b""
    for client in (*others, newest):
        client.send(PROBE)
        assert (await client.answer())[0] == 200


async def test_probes_get_through_a_crowd_of_silent_connections(serve: Serve) -> None:
    connect = await serve(**LONG | {"max_connections": 4})
    for _ in range(60):
        await connect()
        probe = await connect()
        probe.send(PROBE)
        assert (await probe.answer())[0] == 200


async def test_where_every_place_is_busy_probes_alone_are_answered(serve: Serve) -> None:
    connect = await serve(**LONG | {"max_connections": 3})
    for _ in range(3):
        busy = await connect()
        busy.send(post(b"{", b"Content-Length: 50", b"Expect: 100-continue"))
        assert b"100" in await asyncio.wait_for(busy.reader.readuntil(b"\r\n\r\n"), ALLOWED_S)
    refused = await connect()
    refused.send(post(b'{"inputs": "ab"}'))
    status, headers, body = await refused.answer()
    assert (status, headers["connection"], headers["retry-after"]) == (503, "close", "1")
    assert (json.loads(body)["code"], json.loads(body)["retryable"]) == ("too_many_connections", True)
    for _ in range(3 * PROBE_PLACES):
        probe = await connect()
        probe.send(PROBE)
        assert (await probe.answer())[0] == 200
