"""`POST /v1/messages` over a scripted engine: answers, events, problems, each to the letter."""

from typing import Any

import pytest

from beamhouse.engine.link.errors import EngineUnavailable, QueueFull, RequestFailed
from beamhouse.engine.link.messages import FinishReason, Tokens
from beamhouse.schemas.words import FinishType
from beamhouse.server.doors.anthropic.blocks import signature_of
from tests.fakes import FakeEngine, fake_info, search
from tests.http.conftest import client_of, make_settings
from tests.http.events import parse_events
from tests.http.hermes import CALLING, TEMPLATE

pytestmark = pytest.mark.anyio
SAID = [{"role": "user", "content": "ab"}]
TOOL = {"name": "look", "input_schema": {"type": "object", "properties": {"at": {"type": "string"}}}}


async def ask(client, **body: Any) -> dict[str, Any]:
    response = await client.post("/v1/messages", json={"model": "any", "max_tokens": 2, "messages": SAID} | body)
    assert response.status_code == 200, response.text
    assert response.headers["request-id"] == response.headers["x-request-id"]
    return response.json()


async def stream(client, **body: Any) -> list[dict[str, Any]]:
    body = {"model": "any", "max_tokens": 2, "messages": SAID, "stream": True} | body
    events = parse_events((await client.post("/v1/messages", json=body)).text)
    assert [name for name, _ in events] == [data["type"] for _, data in events]
    return [data for _, data in events]


def joined(events: list[dict[str, Any]]) -> dict[str, Any]:
    """The whole message that events come to, but for the inputs of calls, which stay as they were written."""
    message, (last, stop) = events[0]["message"], events[-2:]
    assert (events[1], stop) == ({"type": "ping"}, {"type": "message_stop"})
    for event in events[2:-2]:
        if event["type"] == "content_block_start":
            message["content"].append(event["content_block"])
        elif event["type"] == "content_block_delta":
            block = message["content"][event["index"]]
            for name, piece in event["delta"].items():
                if name != "type":
                    block[name] = block.get(name, "") + piece
    return {**message, **last["delta"], "usage": last["usage"]}


async def test_a_message_holds_exactly_what_the_api_names(client):
    message = await ask(client)
    assert message.pop("id").startswith("msg_")
    assert message == {
        "type": "message",
        "role": "assistant",
        "model": "tiny/bytes",
        "content": [{"type": "text", "text": "cd"}],
        "stop_reason": "max_tokens",
        "stop_sequence": None,
        "stop_details": None,
        "usage": {
            "input_tokens": 7,
            "output_tokens": 2,
            "cache_read_input_tokens": 1,
            "cache_creation_input_tokens": 0,
        },
    }


async def test_a_stream_is_the_start_then_blocks_then_the_end(client):
    start, ping, *blocks, delta, stop = await stream(client)
    assert start["message"].pop("id").startswith("msg_")
    usage = {"input_tokens": 8, "output_tokens": 0, "cache_read_input_tokens": 0, "cache_creation_input_tokens": 0}
    assert start["message"] == {
        "type": "message",
        "role": "assistant",
        "model": "tiny/bytes",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "stop_details": None,
        "usage": usage,
    }
    assert (ping, stop) == ({"type": "ping"}, {"type": "message_stop"})
    assert blocks == [
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "c"}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "d"}},
        {"type": "content_block_stop", "index": 0},
    ]
    usage = {"input_tokens": 7, "output_tokens": 2, "cache_read_input_tokens": 1, "cache_creation_input_tokens": 0}
    ending = {"stop_reason": "max_tokens", "stop_sequence": None, "stop_details": None}
    assert delta == {"type": "message_delta", "delta": ending, "usage": usage}


@pytest.mark.parametrize("text", ["so", "<think>hm</think>so", "<think>hm", CALLING, CALLING + "\n" + CALLING[17:]])
async def test_the_events_of_a_stream_come_to_the_plain_answer(says, text):
    async with says(text) as client:
        plain, streamed = await ask(client, tools=[TOOL]), joined(await stream(client, tools=[TOOL]))
    for block in (block for block in streamed["content"] if block["type"] == "tool_use"):
        assert block.pop("partial_json") == '{"at": "x"}'
        block["input"] = {"at": "x"}
    ids = [[block.pop("id", None) for block in one["content"]] + [one.pop("id")] for one in (plain, streamed)]
    assert plain == streamed
    assert len(ids[0]) == len(ids[1])


async def test_thoughts_text_and_calls_are_blocks(says):
    async with says(CALLING) as client:
        message = await ask(client, tools=[TOOL])
    thinking, text, call = message["content"]
    assert thinking == {"type": "thinking", "thinking": "hm", "signature": signature_of("hm")}
    assert text == {"type": "text", "text": "so"}
    assert call.pop("id")
    assert call == {"type": "tool_use", "name": "look", "input": {"at": "x"}}
    assert message["stop_reason"] == "tool_use"


async def test_without_a_choice_of_tools_calls_are_text(says):
    async with says(CALLING) as client:
        message = await ask(client, tools=[TOOL], tool_choice={"type": "none"})
    assert [block["type"] for block in message["content"]] == ["thinking", "text"]
    assert message["stop_reason"] == "end_turn"


@pytest.mark.parametrize(
    ("end", "reason", "sequence"),
    [
        (FinishReason(FinishType.EOS_TOKEN, token_id=1), "end_turn", None),
        (FinishReason(FinishType.STOP_STRING, stop_string="o"), "stop_sequence", "o"),
        (FinishReason(FinishType.LENGTH), "max_tokens", None),
        (FinishReason(FinishType.TIME), "pause_turn", None),
        (FinishReason(FinishType.STOPPING_CRITERION, name="at_newline"), "end_turn", None),
    ],
)
async def test_why_a_message_ended_is_told(says, end, reason, sequence):
    async with says("so", end) as client:
        message = await ask(client, stop_sequences=["o"])
        *_, delta, _ = await stream(client, stop_sequences=["o"])
    ending = {"stop_reason": reason, "stop_sequence": sequence, "stop_details": None}
    assert {name: message[name] for name in ending} == delta["delta"] == ending


async def test_a_message_ends_at_the_latest_where_the_context_does(client):
    message = await ask(client, max_tokens=32_000)
    *_, delta, _ = await stream(client, max_tokens=32_000)
    assert message["stop_reason"] == delta["delta"]["stop_reason"] == "model_context_window_exceeded"
    assert message["usage"]["output_tokens"] == 128 - len("<user>ab")


async def test_0_tokens_compute_the_prompt_alone(client):
    message = await ask(client, max_tokens=0)
    assert (message["content"], message["stop_reason"], message["usage"]["output_tokens"]) == ([], "max_tokens", 0)


async def test_our_own_outputs_come_beside_the_message(client):
    message = await ask(client, outputs={"config": True})
    *_, delta, _ = await stream(client, outputs={"config": True})
    assert message["native"]["generation_config"]["max_length"] == delta["native"]["generation_config"]["max_length"]


async def test_the_progress_of_a_search_is_told_where_it_is_asked_for(client, engine):
    engine.script = search
    events = await stream(client, num_beams=2, max_tokens=3, outputs={"progress": True})
    assert [event["type"] for event in events].count("progress") == 2


async def test_tokens_are_counted_without_generating(client, engine):
    response = await client.post("/v1/messages/count_tokens", json={"model": "any", "messages": SAID})
    assert response.json() == {"input_tokens": len("<user>ab")}
    response = await client.post("/v1/messages/count_tokens", json={"messages": SAID, "system": "x"})
    assert response.json() == {"input_tokens": len("<system>x<user>ab")}
    assert engine.submissions == []


@pytest.mark.parametrize(
    ("body", "kind", "status", "said"),
    [
        ({"max_tokens": None}, "invalid_request_error", 400, "max_tokens: max_tokens is missing"),
        ({"max_tokens": 1, "top_p": 2}, "invalid_request_error", 400, "top_p: "),
        (
            {"messages": [{"role": "user", "content": "a" * 200}]},
            "invalid_request_error",
            400,
            "prompt is too long: prompt has 206",
        ),
        ({"messages": []}, "invalid_request_error", 400, "messages: "),
        ({"max_tokenz": 1}, "invalid_request_error", 400, "max_tokenz: max_tokenz is not a field"),
        ({"mcp_servers": []}, "invalid_request_error", 400, "mcp_servers: not supported"),
        ({"messages": [{"role": "user", "content": [{"type": "image"}]}]}, "invalid_request_error", 400, "image"),
        (
            {"tools": [{"type": "web_search_20250305", "name": "x"}]},
            "invalid_request_error",
            400,
            "web_search_20250305",
        ),
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, "invalid_request_error", 400, "does not think"),
    ],
    ids=str,
)
async def test_a_body_that_cannot_be_obeyed_is_refused_in_the_words_of_the_api(client, body, kind, status, said):
    body = {"model": "any", "max_tokens": 2, "messages": SAID} | body
    response = await client.post("/v1/messages", json=body)
    assert response.status_code == status
    answer = response.json()
    assert (answer["type"], answer["error"]["type"]) == ("error", kind)
    assert said in answer["error"]["message"]
    assert answer["request_id"] == response.headers["request-id"]


@pytest.mark.parametrize(
    ("refusal", "status", "kind"),
    [
        (QueueFull("full"), 429, "rate_limit_error"),
        (EngineUnavailable("loading"), 529, "overloaded_error"),
    ],
)
async def test_a_server_that_cannot_answer_says_so_in_the_words_of_the_api(client, engine, refusal, status, kind):
    engine.refusal = refusal
    response = await client.post("/v1/messages", json={"max_tokens": 2, "messages": SAID})
    assert (response.status_code, response.json()["error"]["type"]) == (status, kind)
    assert "retry-after" in response.headers


async def test_a_fault_ends_a_stream_as_an_event_and_a_plain_answer_as_a_status(client, engine):
    engine.script = lambda submission: [Tokens(0, [99]), RequestFailed("broken")]
    response = await client.post("/v1/messages", json={"max_tokens": 2, "messages": SAID})
    assert (response.status_code, response.json()["error"]["type"]) == (500, "api_error")
    *_, last = await stream(client)
    assert last["type"] == "error"
    assert last["error"]["type"] == "api_error"


async def test_paths_beside_the_routes_speak_the_protocol_too(client):
    for response in (await client.get("/v1/messages"), await client.post("/v1/messages/batches", json={})):
        assert response.json()["type"] == "error"


async def test_a_strict_server_knows_its_model_by_one_name(connect):
    client = await connect(strict_model_name=True)
    for path in ("/v1/messages", "/v1/messages/count_tokens"):
        body = {"model": "claude", "messages": SAID} | ({"max_tokens": 2} if path == "/v1/messages" else {})
        response = await client.post(path, json=body)
        assert (response.status_code, response.json()["error"]["type"]) == (404, "not_found_error")


@pytest.mark.parametrize(
    "fields",
    [
        {"tools": [TOOL], "tool_choice": {"type": "any"}},
        {"tools": [TOOL], "tool_choice": {"type": "tool", "name": "look", "disable_parallel_tool_use": True}},
        {"tools": [{**TOOL, "strict": True}]},
        {"tools": [TOOL], "tool_choice": {"type": "auto", "disable_parallel_tool_use": True}},
        {"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}},
    ],
    ids=str,
)
async def test_what_the_turn_is_held_to_is_a_grammar(tokenizer_file, fields):
    engine = FakeEngine(fake_info(tokenizer_file, chat_template=TEMPLATE, context_len=1024, reads_tools=True))
    async with client_of(engine, make_settings()) as client:
        await ask(client, **fields)
    assert engine.submissions[0].constraint is not None
    assert engine.calls["compile"] == 1


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"tool_choice": {"type": "any"}}, "tool_choice: a call is required"),
        ({"tools": [TOOL], "tool_choice": {"type": "tool", "name": "x"}}, "tool_choice: x is not among the tools"),
        ({"tools": [TOOL], "tool_choice": {"type": "maybe"}}, "tool_choice: "),
        ({"max_tokens": 0, "tools": [TOOL], "tool_choice": {"type": "any"}}, "tool_choice: max_tokens asks for no new"),
    ],
    ids=str,
)
async def test_a_choice_that_cannot_be_made_is_refused(client, fields, said):
    response = await client.post("/v1/messages", json={"max_tokens": 2, "messages": SAID} | fields)
    assert response.status_code == 400
    assert said in response.json()["error"]["message"]
