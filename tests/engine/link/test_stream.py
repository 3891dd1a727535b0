"""What a reader gets of one submission: everything, in order, together where it came together."""

import asyncio

import pytest

from beamhouse.engine.link.errors import EngineUnavailable, QueueFull
from beamhouse.engine.link.messages import Finished, RequestOutputs, Tokens
from beamhouse.engine.link.stream import Stream

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def token(token_id: int) -> RequestOutputs:
    return RequestOutputs("a", [Tokens(0, [token_id])])


def stream_of(forgotten: list[str] | None = None) -> Stream:
    return Stream("a", (forgotten if forgotten is not None else []).append)


async def test_what_came_since_the_last_look_comes_together() -> None:
    stream = stream_of()
    for token_id in (1, 2):
        stream.put(token(token_id))
    reading = aiter(stream)
    assert await anext(reading) == [token(1), token(2)]
    stream.put(token(3))
    stream.put(token(4))
    stream.end(Finished("a"))
    assert await anext(reading) == [token(3), token(4)]
    assert await anext(reading, None) is None
    assert stream.finished == Finished("a")


async def test_what_comes_while_its_reader_is_busy_is_kept() -> None:
    stream, got = stream_of(), []
    stream.put(token(1))
    async for updates in stream:
        got += updates
        if len(got) == 1:
            stream.put(token(2))
            stream.end(Finished("a"))
    assert got == [token(1), token(2)]


async def test_a_reader_waits_until_something_comes() -> None:
    stream = stream_of()
    waiting = asyncio.ensure_future(anext(aiter(stream)))
    await asyncio.sleep(0)
    assert not waiting.done()
    stream.put(token(1))
    assert await asyncio.wait_for(waiting, 1) == [token(1)]


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        (EngineUnavailable("gone"), EngineUnavailable),
        (Finished("a", error_code=QueueFull.code, error="full"), QueueFull),
    ],
)
async def test_a_failure_comes_after_the_tokens_before_it(last: Finished | Exception, expected: type) -> None:
    stream = stream_of()
    stream.put(token(1))
    stream.end(last)
    reading = aiter(stream)
    assert await anext(reading) == [token(1)]
    with pytest.raises(expected):
        await anext(reading)


async def test_only_a_stream_that_runs_is_forgotten() -> None:
    forgotten: list[str] = []
    async with stream_of(forgotten) as left:
        left.put(token(1))
    async with stream_of(forgotten) as read:
        read.end(Finished("a"))
        assert [updates async for updates in read] == []
    assert forgotten == ["a"]
