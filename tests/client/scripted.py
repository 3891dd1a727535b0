"""A server that plays a script, byte for byte: what it answers to each request in turn, and when it hangs up."""

import json
import socket
import threading
from collections.abc import Sequence
from typing import Any

HANG_UP = b""
"""In the place of an answer: the connection ends before a byte of one."""


def answer(body: Any, status: int = 200, headers: Sequence[str] = ()) -> bytes:
    """A whole answer. body: bytes as they stand, or what becomes JSON."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} Reason", "Content-Type: application/json", f"Content-Length: {len(content)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + content


def problem(status: int, code: str, **more: Any) -> dict[str, Any]:
    said = {"type": f"urn:beamhouse:problem:{code}", "title": "Title", "status": status, "detail": "for a reason"}
    return {**said, "code": code, "request_id": "r1", "retryable": status in (429, 503), "errors": [], **more}


def event_stream(*events: tuple[str, Any]) -> bytes:
    """The head of a stream and these events; it ends where the connection does."""
    said = "".join(f"event: {name}\r\ndata: {json.dumps(data, ensure_ascii=False)}\r\n\r\n" for name, data in events)
    return b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n" + said.encode()


class ScriptedServer:
    """Answers each connection with the next part of its script, and keeps what was asked. Use it as a context."""

    def __init__(self, *script: bytes) -> None:
        self.script = script
        self.asked: list[tuple[str, dict[str, Any] | None]] = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.thread = threading.Thread(target=self.play)

    def __enter__(self) -> "ScriptedServer":
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.thread.join(30)
        self.listener.close()

    def play(self) -> None:
        for part in self.script:
            connection, _ = self.listener.accept()
            with connection:
                self.asked.append(read_request(connection))
                connection.sendall(part.replace(b"\r\nContent-Type", b"\r\nConnection: close\r\nContent-Type", 1))


def read_request(connection: socket.socket) -> tuple[str, dict[str, Any] | None]:
    """The first line without the version, and the body."""
    with connection.makefile("rb") as lines:
        first = lines.readline().decode().rsplit(" ", 1)[0]
        length = 0
        while line := lines.readline().strip():
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        return first, json.loads(lines.read(length)) if length else None
