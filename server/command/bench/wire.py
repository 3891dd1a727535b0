"""Streams of tokens over HTTP, at the least cost to the machine that is measured.

While a load runs the pieces that arrive are only kept with their times; what they say is read afterwards.
"""

import asyncio
import json
import ssl
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from beamhouse.client.wire import EventReader

PIECE_BYTES = 1 << 16
Piece = tuple[float, bytes]
"""When it arrived, in seconds from the start of the load, and what."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where requests go. base: the path before those of the doors."""

    host: str
    port: int
    is_tls: bool = False
    base: str = ""

    @classmethod
    def of(cls, url: str) -> "Target":
        """Raises ValueError."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url} is no address of a server, such as http://127.0.0.1:8000")
        is_tls = parts.scheme == "https"
        return cls(parts.hostname, parts.port or (443 if is_tls else 80), is_tls, parts.path.rstrip("/"))


def request_bytes(target: Target, path: str, body: dict[str, Any]) -> bytes:
    """A request as it is sent, on a connection of its own."""
    content = json.dumps(body).encode()
    host = f"[{target.host}]" if ":" in target.host else target.host
    lines = [
        f"POST {target.base}{path} HTTP/1.1",
        f"Host: {host}:{target.port}",
        "Connection: close",
        "Content-Type: application/json",
        f"Content-Length: {len(content)}",
    ]
    return "\r\n".join([*lines, "", ""]).encode() + content


async def exchange(target: Target, request: bytes, pieces: list[Piece], start: float) -> int:
    """Send a request and keep what comes back in `pieces`; the status. Raises OSError and EOFError."""
    tls = ssl.create_default_context() if target.is_tls else None
    reader, writer = await asyncio.open_connection(target.host, target.port, ssl=tls)
    try:
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        is_chunked = b"transfer-encoding: chunked" in head
        while piece := await (_chunk(reader) if is_chunked else reader.read(PIECE_BYTES)):
            pieces.append((time.perf_counter() - start, piece))
    finally:
        writer.close()
    return int(head.split(b" ", 2)[1])


async def _chunk(reader: asyncio.StreamReader) -> bytes:
    """The next chunk; empty at the end."""
    size = int((await reader.readline()).split(b";")[0], 16)
    data = await reader.readexactly(size)
    await reader.readline()
    return data


def events(pieces: Sequence[Piece]) -> Iterator[tuple[float, str, dict[str, Any]]]:
    """When each server-sent event was complete, its name and its data; comments and closing marks are left out."""
    reader = EventReader()
    for when, piece in pieces:
        for name, data in reader.feed(piece):
            if data.startswith("{"):
                yield when, name, json.loads(data)
