"""`POST /generate` as server-sent events, and clients that leave."""

import asyncio
import json
import time

import pytest
from sse_starlette.sse import AppStatus

from beamhouse.engine.link.errors import BatchFailed
from beamhouse.engine.link.messages import FinishReason, Tokens, TopToken
from beamhouse.schemas.beamhouse.generate import GenerateRequest
from beamhouse.schemas.words import FinishType
from beamhouse.server.answering.run import TURN_WEIGHT
from beamhouse.server.answering.start import start
from beamhouse.server.app import create_app
from beamhouse.server.edge import event_stream
from tests.fakes import tokens_of
from tests.http.events import parse_events

pytestmark = pytest.mark.anyio


async def stream(client, **body):
    response = await client.post("/generate", json={"stream": True, **body})
    assert response.status_code == 200, response.text
    return response, parse_events(response.text)


async def test_a_stream_is_tokens_then_the_answer(client):
    config = {"max_new_tokens": 3, "do_sample": True, "num_return_sequences": 2}
    response, events = await stream(client, inputs=[[97], [100]], generation_config=config)
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.headers["cache-control"] == "no-cache"
    assert response.headers["x-accel-buffering"] == "no"
    *tokens, (name, answer) = events
    assert name == "done"
    assert {name for name, _ in tokens} == {"token"}
    for sequence in answer["sequences"]:
        own = [data for _, data in tokens if data["sequence"] == sequence["index"]]
        assert [data["index"] for data in own] == [0, 1, 2]
        assert [data["token_id"] for data in own] == sequence["token_ids"]
        assert "".join(data["text"] for data in own) == sequence["text"]


async def test_the_stream_ends_with_what_a_plain_answer_is(client):
    body = {"inputs": "ab", "generation_config": {"max_new_tokens": 2}}
    _, events = await stream(client, **body)
    plain = (await client.post("/generate", json=body)).json()
    assert {**events[-1][1], "id": ""} == {**plain, "id": ""}


async def test_accepting_events_asks_for_a_stream_unless_the_body_says_no(client):
    headers = {"accept": "text/event-stream"}
    asked = await client.post("/generate", json={"inputs": [3]}, headers=headers)
    refused = await client.post("/generate", json={"inputs": [3], "stream": False}, headers=headers)
    assert asked.headers["content-type"].startswith("text/event-stream")
    assert refused.headers["content-type"] == "application/json"


async def test_tokens_that_came_together_share_an_event(client, engine, encode):
    engine.script = lambda submission: tokens_of(submission, encode("abc"), encode("d"))
    _, events = await stream(client, inputs=[3])
    assert events[0] == ("tokens", {"sequence": 0, "index": 0, "token_ids": encode("abc"), "text": "abc"})
    assert events[1] == ("token", {"sequence": 0, "index": 3, "token_id": encode("d")[0], "text": "d"})


async def test_no_reader_of_lines_cuts_an_event_in_two(client, engine, encode):
    text = "a\u2028b\u2029c\u0085d\x0b\x0c\x1c\x1d\x1e\r\ne"
    engine.script = lambda submission: tokens_of(submission, encode(text[:4]), encode(text[4:]))
    response = await client.post("/generate", json={"inputs": [3], "stream": True})
    assert response.text.splitlines() == response.text.split("\n")[:-1]
    lines = [line.removeprefix("data: ") for line in response.text.split("\n") if line.startswith("data: ")]
    assert json.loads(lines[-1])["generated_text"] == text
    assert "".join(json.loads(line)["text"] for line in lines[:-1]) == text


async def test_an_incomplete_character_is_held_back(client, engine, encode):
    first, second, third = encode("€")
    engine.script = lambda submission: tokens_of(submission, [first], [second], [third])
    _, events = await stream(client, inputs=[3])
    assert [data["text"] for _, data in events[:-1]] == ["", "", "€"]


async def test_what_is_held_back_comes_with_the_last_token(client, engine, encode):
    engine.script = lambda submission: tokens_of(submission, encode("a"), encode("€")[:2])
    _, events = await stream(client, inputs=[3])
    assert "".join(data["text"] for _, data in events[:-1]) == events[-1][1]["generated_text"] != "a"


async def test_a_sequence_may_end_without_a_new_token(client, engine):
    def script(submission):
        first = Tokens(0, [97])
        return [first, Tokens(0, [], finish_reason=FinishReason(FinishType.TIME))]

    engine.script = script
    _, events = await stream(client, inputs=[3])
    assert [name for name, _ in events] == ["token", "done"]
    assert events[-1][1]["sequences"][0]["finish_reason"] == {"type": "time"}


async def test_scores_travel_with_their_tokens(client):
    _, events = await stream(client, inputs=[3], outputs={"transition_scores": True, "top_n_tokens": 1})
    assert events[0][1]["score"] == -0.5
    assert events[0][1]["top_tokens"][0]["token_id"] == 4


async def test_a_failure_is_the_one_last_event(client, engine):
    engine.script = lambda submission: [*tokens_of(submission, [5], [6])[:1], BatchFailed("the device failed")]
    response, events = await stream(client, inputs=[3])
    assert [name for name, _ in events] == ["token", "error"]
    problem = events[-1][1]
    assert (problem["code"], problem["status"], problem["retryable"]) == ("batch_failed", 500, True)
    assert problem["request_id"] == response.headers["x-request-id"]


async def test_an_invalid_request_is_refused_before_the_stream_begins(client, engine):
    response = await client.post("/generate", json={"inputs": [999], "stream": True})
    assert response.status_code == 422
    assert engine.submissions == []


async def test_silence_is_filled_with_comments(connect, engine):
    client = await connect(ping_s=0.01)
    engine.gate.clear()
    task = asyncio.create_task(client.post("/generate", json={"inputs": [3], "stream": True}))
    await engine.changed.wait()
    loop = asyncio.get_running_loop()
    loop.call_later(0.1, engine.gate.set)
    text = (await task).text
    assert text.count(": ping") >= 2
    assert parse_events(text)[-1][0] == "done"


class Caller:
    """Talks to the application itself, so that it can hang up."""

    def __init__(self, app, body: bytes) -> None:
        self.app, self.body = app, body
        self.gone = asyncio.Event()
        self.sent: list[dict] = []
        self.arrived = asyncio.Event()

    async def receive(self):
        if self.body:
            body, self.body = self.body, b""
            return {"type": "http.request", "body": body, "more_body": False}
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message):
        self.sent.append(message)
        if message["type"] == "http.response.body":
            self.arrived.set()

    async def call(self):
        headers = [(b"content-type", b"application/json"), (b"host", b"test")]
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": "POST",
            "scheme": "http",
            "path": "/generate",
            "raw_path": b"/generate",
            "query_string": b"",
            "root_path": "",
            "headers": headers,
            "client": None,
            "server": None,
        }
        await self.app(scope, self.receive, self.send)


@pytest.fixture
def app(client):
    return client._transport.app


async def test_hanging_up_on_a_plain_request_cancels_all_its_prompts(app, engine):
    engine.gate.clear()
    caller = Caller(app, b'{"inputs": [[3], [4]]}')
    task = asyncio.create_task(caller.call())
    await engine.changed.wait()
    assert engine.cancelled == []
    caller.gone.set()
    await asyncio.wait_for(task, 1)
    assert sorted(engine.cancelled) == sorted(submission.request_id for submission in engine.submissions)
    assert len(engine.cancelled) == 2
    assert app.state.service.gate.running == 0


async def test_hanging_up_on_a_stream_cancels_it(app, engine):
    caller = Caller(app, b'{"inputs": [3], "stream": true, "generation_config": {"max_new_tokens": 100}}')
    task = asyncio.create_task(caller.call())
    await asyncio.wait_for(caller.arrived.wait(), 1)
    engine.gate.clear()
    caller.gone.set()
    await asyncio.wait_for(task, 1)
    assert engine.cancelled == [engine.submissions[0].request_id]
    assert app.state.service.gate.running == 0


async def test_hanging_up_before_the_first_event_cancels_too(app, engine):
    engine.gate.clear()
    caller = Caller(app, b'{"inputs": [3], "stream": true}')
    caller.gone.set()
    await asyncio.wait_for(caller.call(), 1)
    assert engine.cancelled == [submission.request_id for submission in engine.submissions]
    assert app.state.service.gate.running == 0


async def test_hanging_up_while_a_prompt_is_healed_cancels_the_healing(app, engine):
    engine.gate.clear()
    caller = Caller(app, b'{"inputs": "ab", "generation_config": {"token_healing": true}}')
    task = asyncio.create_task(caller.call())
    await engine.changed.wait()
    caller.gone.set()
    await asyncio.wait_for(task, 1)
    assert engine.cancelled == [engine.submissions[0].request_id]


async def test_events_that_came_together_travel_together(app, engine):
    engine.together = True
    caller = Caller(app, b'{"inputs": [3], "stream": true, "generation_config": {"max_new_tokens": 5}}')
    await asyncio.wait_for(caller.call(), 1)
    bodies = [message["body"] for message in caller.sent if message["type"] == "http.response.body"]
    assert [body.count(b"event: ") for body in bodies] == [5, 1, 0]
    assert [message["type"] for message in caller.sent].count("http.response.start") == 1
    assert [message.get("more_body") for message in caller.sent[1:]] == [True, True, False]


async def test_a_comment_never_comes_after_the_end(connect, engine):
    app = (await connect(ping_s=0.001))._transport.app
    caller = Caller(app, b'{"inputs": [3], "stream": true, "generation_config": {"max_new_tokens": 100}}')
    await asyncio.wait_for(caller.call(), 5)
    assert caller.sent[-1]["body"] == b""
    assert not caller.sent[-1]["more_body"]


async def test_a_comment_never_comes_inside_of_an_event(connect, monkeypatch):
    monkeypatch.setattr(event_stream, "PART_BYTES", 16)
    app = (await connect(ping_s=0.001))._transport.app
    caller = Caller(app, b'{"inputs": [3], "stream": true}')
    comment_is_due = asyncio.Event()

    async def send(message):
        caller.sent.append(message)
        if message.get("body", b"").startswith(b"event: done"):
            asyncio.get_running_loop().call_later(0.02, comment_is_due.set)
            await comment_is_due.wait()

    caller.send = send
    await asyncio.wait_for(caller.call(), 5)
    bodies = [message["body"] for message in caller.sent if message["type"] == "http.response.body"]
    assert max(map(len, bodies)) == 16
    assert parse_events(b"".join(bodies).decode())[-1][0] == "done"


async def test_streams_go_on_whatever_server_of_this_process_was_told_to_stop(client, monkeypatch):
    monkeypatch.setattr(AppStatus, "should_exit", True)
    _, events = await stream(client, inputs=[3])
    assert events[-1][0] == "done"


async def test_much_that_comes_together_is_said_in_turns(engine, settings):
    def script(submission):
        tops = [TopToken(token_id, -1.0) for token_id in range(50)]
        ends = [None] * 99 + [FinishReason(FinishType.LENGTH)]
        return [Tokens(0, [65], [], [tops], reason) for reason in ends]

    engine.script, engine.together = script, True
    body = {
        "inputs": [3],
        "stream": True,
        "outputs": {"top_n_tokens": 50},
        "generation_config": {"max_new_tokens": 100},
    }
    app = create_app(engine, settings)
    async with app.router.lifespan_context(app):
        run = await start(app.state.service, GenerateRequest.model_validate(body), time.monotonic())
        together = [len(events) async for events in run.events()]
        run.close()
    assert sum(together) == 101
    assert max(together) * 51 <= TURN_WEIGHT + 51
