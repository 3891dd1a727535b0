"""A load on a scripted server: what counts, what failed and why, and the figures of it."""

import asyncio
from itertools import pairwise

import pytest

from beamhouse.server.command.bench.doors import GREEDY, NATIVE, Fields
from beamhouse.server.command.bench.figures import Figures, Spread
from beamhouse.server.command.bench.load import Extent, Raw, Streamed, ask, read, run
from beamhouse.server.command.bench.wire import Target, request_bytes
from tests.client.scripted import HANG_UP, ScriptedServer, answer, event_stream, problem

TOKEN = ("token", {"token_id": 5, "text": "a"})
DONE = ("done", {"sequences": [], "usage": {"generated_tokens": 2}})


def body(number: int) -> Fields:
    return NATIVE.body(f"prompt {number}", 2, GREEDY)


def extent(requests: int | None = None, seconds: float | None = None, concurrency: int = 1) -> Extent:
    return Extent(concurrency, requests, seconds, timeout_s=20.0)


def test_a_load_counts_tokens_and_says_why_requests_failed():
    good, refused = event_stream(TOKEN, TOKEN, DONE), answer(problem(429, "queue_full"), 429)
    failing = event_stream(TOKEN, ("error", problem(500, "batch_failed")))
    with ScriptedServer(good, refused, failing, HANG_UP, event_stream(), good) as server:
        answers = run(Target.of(server.url), NATIVE, body, extent(6))
    found = Figures.of("native", "greedy_search", answers)
    reasons = {"429 queue_full": 1, "batch_failed": 1, "IncompleteReadError": 1, "broken stream": 1}
    assert (found.requests, found.tokens, found.errors) == (6, 4, reasons)
    assert [asked["inputs"] for _, asked in server.asked if asked] == [f"prompt {number}" for number in range(6)]
    assert found.tokens_per_s == pytest.approx(4 / found.seconds)
    assert found.first is not None
    assert all(later.sent_s >= earlier.ended_s for earlier, later in pairwise(answers))


def test_no_request_begins_after_the_time():
    with ScriptedServer(event_stream(TOKEN, DONE)) as server:
        assert run(Target.of(server.url), NATIVE, body, extent(seconds=0.0)) == []
        (only,) = run(Target.of(server.url), NATIVE, body, extent(requests=1, seconds=3600.0))
    assert only.failure is None


def test_a_request_that_takes_too_long_is_given_up():
    async def give_up() -> Raw:
        async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()
            writer.close()

        async with await asyncio.start_server(say_nothing, "127.0.0.1", 0) as silent:
            target = Target("127.0.0.1", silent.sockets[0].getsockname()[1])
            return await ask(target, request_bytes(target, "/generate", {}), 0.0, timeout_s=0.05)

    assert read(asyncio.run(give_up()), NATIVE).failure == "timeout"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b'{"error": {"message": "x", "type": "NotFoundError", "code": 404}}', "404 404"),
        (b'{"error": "Not found", "error_type": "validation"}', "404 validation"),
        (b"<html>", "404"),
        (b"[]", "404"),
    ],
)
def test_a_refusal_is_told_by_its_status_and_code_in_any_protocol(body: bytes, reason: str):
    assert read(Raw(0.0, 1.0, 404, [(0.5, body)]), NATIVE).failure == reason


def test_figures_are_of_the_answers_that_came():
    answers = [
        Streamed(0.0, 1.0, [0.25, 0.5, 1.0], num_tokens=3),
        Streamed(0.5, 2.0, [1.0, 1.0], num_tokens=2),
        Streamed(0.0, 0.5, failure="timeout"),
    ]
    found = Figures.of("native", "sample", answers)
    assert (found.tokens, found.seconds, found.tokens_per_s, found.errors) == (5, 2.0, 2.5, {"timeout": 1})
    assert found.first == Spread(250.0, 500.0, 500.0)
    assert found.between == Spread(250.0, 500.0, 500.0)
    assert found.whole == Spread(1000.0, 1500.0, 1500.0)
    assert Figures.of("native", "sample", []).first is None


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("http://127.0.0.1:8000", Target("127.0.0.1", 8000)),
        ("https://host/base/", Target("host", 443, is_tls=True, base="/base")),
        ("http://[::1]:7", Target("::1", 7)),
    ],
)
def test_an_address_is_taken_apart(url: str, target: Target):
    assert Target.of(url) == target
    assert request_bytes(target, "/x", {}).startswith(f"POST {target.base}/x HTTP/1.1\r\n".encode())


def test_what_is_no_address_is_told():
    with pytest.raises(ValueError, match="is no address of a server"):
        Target.of("localhost:8000")
