"""Streams of tokens over HTTP, from any server, at the least cost to the machine that is measured.

While a load runs the pieces that arrive are only kept with their times; what they say is read afterwards.
"""

import asyncio
import gc
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from benchmarks.cases.loads import Ask, Lanes

PIECE_BYTES = 1 << 16
MOST_S = 900.0
"""How long one load may take."""


class BadAnswer(Exception):
    """A server refused a request or sent another number of tokens than asked for."""


class Dialect(Protocol):
    """How a server is asked and what its events mean."""

    @property
    def path(self) -> str: ...

    def body(self, ask: Ask) -> dict[str, Any]: ...

    def tokens(self, name: str, data: dict[str, Any]) -> list[int]:
        """The tokens of one event; raises BadAnswer for one that reports a failure."""


@dataclass(frozen=True, slots=True)
class Streamed:
    """One answer: how long its prompt is, and when it was asked and each token arrived, in seconds from the start."""

    num_prompt: int
    sent_s: float
    arrived_s: list[float]
    token_ids: list[int]


@dataclass(slots=True)
class Raw:
    """What one request brought: pieces of its answer, with the seconds from the start."""

    ask: Ask
    sent_s: float
    pieces: list[tuple[float, bytes]]


def drive(port: int, dialect: Dialect, lanes: Lanes) -> list[Streamed]:
    """All lanes at once, each on connections of its own. Raises BadAnswer."""
    return [read(raw, dialect) for raw in collect(port, dialect, lanes)]


def collect(port: int, dialect: Dialect, lanes: Lanes) -> list[Raw]:
    """The part of `drive` that takes the server's time: nothing is read yet. Raises BadAnswer."""
    gc.disable()
    try:
        return asyncio.run(asyncio.wait_for(_collect(port, dialect, lanes), MOST_S))
    except TimeoutError as error:
        raise BadAnswer(f"it had not answered within {MOST_S:g} s") from error
    except (OSError, EOFError) as error:
        raise BadAnswer(f"it hung up: {error}") from error
    finally:
        gc.enable()


async def _collect(port: int, dialect: Dialect, lanes: Lanes) -> list[Raw]:
    heads = [[(ask, request_bytes(dialect, ask)) for ask in lane] for lane in lanes]
    start = time.perf_counter()

    async def run(lane: list[tuple[Ask, bytes]]) -> list[Raw]:
        raws = []
        for ask, request in lane:
            await asyncio.sleep(start + ask.at_s - time.perf_counter())
            raws.append(await _stream(port, ask, request, start))
        return raws

    return [raw for raws in await asyncio.gather(*map(run, heads)) for raw in raws]


def request_bytes(dialect: Dialect, ask: Ask) -> bytes:
    body = json.dumps(dialect.body(ask)).encode()
    head = f"POST {dialect.path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


async def _stream(port: int, ask: Ask, request: bytes, start: float) -> Raw:
    raw = Raw(ask, time.perf_counter() - start, [])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        is_chunked = b"transfer-encoding: chunked" in head
        while piece := await (_chunk(reader) if is_chunked else reader.read(PIECE_BYTES)):
            raw.pieces.append((time.perf_counter() - start, piece))
    finally:
        writer.close()
    if b" 200 " not in head.split(b"\r\n", 1)[0]:
        raise BadAnswer(b"".join(piece for _, piece in raw.pieces).decode(errors="replace"))
    return raw


async def _chunk(reader: asyncio.StreamReader) -> bytes:
    """The next chunk; empty at the end."""
    size = int((await reader.readline()).split(b";")[0], 16)
    data = await reader.readexactly(size)
    await reader.readline()
    return data


def read(raw: Raw, dialect: Dialect) -> Streamed:
    """Raises BadAnswer."""
    answer = Streamed(len(raw.ask.prompt), raw.sent_s, [], [])
    for when, name, data in events(raw.pieces):
        token_ids = dialect.tokens(name, data)
        answer.token_ids.extend(token_ids)
        answer.arrived_s.extend([when] * len(token_ids))
    if len(answer.token_ids) != raw.ask.num_new:
        raise BadAnswer(f"a stream ended after {len(answer.token_ids)} of {raw.ask.num_new} tokens")
    return answer


def events(pieces: list[tuple[float, bytes]]) -> Iterator[tuple[float, str, dict[str, Any]]]:
    """When each server-sent event was complete, its name and its data; comments and closing marks are left out."""
    rest = b""
    for when, piece in pieces:
        *complete, rest = (rest + piece.replace(b"\r\n", b"\n")).split(b"\n\n")
        for event in complete:
            fields = dict(line.split(b":", 1) for line in event.split(b"\n") if b":" in line)
            data = fields.get(b"data", b"").strip()
            if data.startswith(b"{"):
                yield when, fields.get(b"event", b"").strip().decode(), json.loads(data)
