"""A request without a server: the app's messages become events, and its refusals become text."""

import json
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from beamhouse.server.command.in_process import explain, post

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def app_that_sends(status: int, *pieces: bytes, seen: list[Any] | None = None):
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        message: Message = await receive()
        if seen is not None:
            seen.extend([scope["path"], json.loads(message["body"])])
        await send({"type": "http.response.start", "status": status, "headers": []})
        for piece in pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    return app


async def read(app: Any) -> list[tuple[str, Any]]:
    return [event async for event in post(app, "/generate", {"inputs": "a"})]


async def test_the_body_reaches_the_route():
    seen: list[Any] = []
    await read(app_that_sends(200, seen=seen))
    assert seen == ["/generate", {"inputs": "a"}]


async def test_events_are_put_together_from_any_pieces():
    pieces = [
        b": ping\r\n\r\neve",
        b'nt: token\r\ndata: {"te',
        b'xt": "a"}\r\n\r',
        b"\nevent: done\r\ndata: {}\r\n\r\n",
    ]
    assert await read(app_that_sends(200, *pieces)) == [("token", {"text": "a"}), ("done", {})]


async def test_a_refusal_is_an_error_event():
    assert await read(app_that_sends(422, b'{"detail":', b' "no"}')) == [("error", {"detail": "no"})]


async def test_a_crash_of_the_app_is_not_swallowed():
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await read(app)


def test_a_refusal_names_each_field_in_a_line_of_its_own():
    problem = {"detail": "2 fields", "errors": [{"message": "top_p is 2"}, {"message": "top_k is -1"}]}
    assert explain(problem) == "top_p is 2\ntop_k is -1"
    assert explain({"detail": "the server is stopping", "errors": []}) == "the server is stopping"
