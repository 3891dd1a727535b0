"""One request without a server: the same app, body and event stream as over HTTP, but no socket between."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Scope

from beamhouse.engine.link.client import EngineClient
from beamhouse.schemas.words import Stage
from beamhouse.server.command.failures import CommandFailed
from beamhouse.server.command.loading_report import LoadingReport

Event = tuple[str, dict[str, Any]]
"""Name and data of a server-sent event."""


class RequestRefused(CommandFailed):
    """The app answered with an error; the text names the fields."""


@dataclass(frozen=True, slots=True)
class LocalRequest:
    """A body for `POST /generate`, and where the pieces of its text go while they come."""

    body: dict[str, Any]
    show: Callable[[str], None]


async def generate_once(app: FastAPI, client: EngineClient, report: LoadingReport, request: LocalRequest) -> Any:
    """The answer to one request, from a model that is loaded for it. Raises RequestRefused or EngineUnavailable."""
    async with app.router.lifespan_context(app):
        async for status in client.changes():
            if status.stage is not Stage.FAILED and not status.is_ready:
                report.loading(status.stage, status.share)
        await client.loaded()
        report.done()
        async with aclosing(post(app, "/generate", request.body | {"stream": True})) as events:
            async for name, data in events:
                if name == "error":
                    raise RequestRefused(explain(data))
                if name == "done":
                    return data
                request.show(data.get("text", ""))
    raise RequestRefused("the stream ended without an answer")


async def post(app: ASGIApp, path: str, body: dict[str, Any]) -> AsyncGenerator[Event, None]:
    """The events the app answers with; an answer that is no stream counts as one `error` event."""
    sent: asyncio.Queue[Message | None] = asyncio.Queue()
    to_read = [{"type": "http.request", "body": json.dumps(body).encode(), "more_body": False}]

    async def receive() -> Message:
        if to_read:
            return to_read.pop()
        await asyncio.Event().wait()
        raise AssertionError("the client of a local request never hangs up")

    async def call() -> None:
        try:
            await app(scope_of(path), receive, sent.put)
        finally:
            await sent.put(None)

    call_task = asyncio.create_task(call())
    try:
        async for event in read_events(sent):
            yield event
        await call_task
    finally:
        call_task.cancel()
        await asyncio.gather(call_task, return_exceptions=True)


def scope_of(path: str) -> Scope:
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"local"), (b"content-type", b"application/json"), (b"accept", b"text/event-stream")],
        "client": None,
        "server": None,
    }


async def read_events(sent: asyncio.Queue[Message | None]) -> AsyncIterator[Event]:
    """Cut the app's messages into events."""
    is_stream, held = True, b""
    while (message := await sent.get()) is not None:
        if message["type"] == "http.response.start":
            is_stream = message["status"] == 200
        held += message.get("body", b"")
        if is_stream:
            *blocks, held = held.replace(b"\r\n", b"\n").split(b"\n\n")
            for block in blocks:
                if (event := parse_event(block)) is not None:
                    yield event
    if not is_stream:
        yield "error", json.loads(held)


def parse_event(block: bytes) -> Event | None:
    """One event from its lines; None for a comment."""
    fields = dict(line.split(b": ", 1) for line in block.split(b"\n") if not line.startswith(b":") and b": " in line)
    if b"data" not in fields:
        return None
    return fields.get(b"event", b"message").decode(), json.loads(fields[b"data"])


def explain(problem: dict[str, Any]) -> str:
    """The lines of a problem object that a person needs."""
    errors = [error["message"] for error in problem.get("errors", [])]
    return "\n".join(errors or [str(problem.get("detail") or problem.get("title"))])
