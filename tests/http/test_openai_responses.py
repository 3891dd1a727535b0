"""`POST /v1/responses` over a scripted engine: items, events, problems, each to the letter."""

from typing import Any

import pytest

from beamhouse.engine.link.errors import RequestFailed
from beamhouse.engine.link.messages import FinishReason, Tokens
from beamhouse.schemas.words import FinishType
from tests.fakes import search
from tests.http.events import parse_events
from tests.http.hermes import CALLING

pytestmark = pytest.mark.anyio
TOOL = {"type": "function", "name": "look", "parameters": {"type": "object"}}


async def ask(client, **body: Any) -> dict[str, Any]:
    response = await client.post("/v1/responses", json={"input": "ab", "max_output_tokens": 2} | body)
    assert response.status_code == 200, response.text
    return response.json()


async def stream(client, **body: Any) -> list[dict[str, Any]]:
    body = {"input": "ab", "max_output_tokens": 2, "stream": True} | body
    events = parse_events((await client.post("/v1/responses", json=body)).text)
    assert [name for name, _ in events] == [data["type"] for _, data in events]
    assert [data["sequence_number"] for _, data in events] == list(range(len(events)))
    return [data for _, data in events]


async def test_a_response_holds_exactly_what_the_api_names(client):
    answer = await ask(client, instructions="x", metadata={"a": "b"}, tools=[], top_p=0.5)
    assert answer.pop("id").startswith("resp_")
    assert answer.pop("created_at") > 1_700_000_000
    (item,) = answer.pop("output")
    assert item.pop("id").startswith("msg_")
    part = {"type": "output_text", "text": "cd", "annotations": [], "logprobs": []}
    assert item == {"type": "message", "role": "assistant", "status": "incomplete", "content": [part]}
    assert answer.pop("usage") == {
        "input_tokens": 17,
        "input_tokens_details": {"cached_tokens": 1, "cache_write_tokens": 0},
        "output_tokens": 2,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 19,
    }
    told = {
        "object": "response",
        "model": "tiny/bytes",
        "status": "incomplete",
        "incomplete_details": {"reason": "max_output_tokens"},
        "instructions": "x",
        "metadata": {"a": "b"},
        "max_output_tokens": 2,
        "temperature": 1.0,
        "top_p": 0.5,
        "text": {"format": {"type": "text"}},
        "tools": [],
        "tool_choice": "auto",
        "parallel_tool_calls": True,
        "truncation": "disabled",
        "store": False,
        "background": False,
        "service_tier": "default",
        "top_logprobs": 0,
        "reasoning": {},
    }
    assert {name: value for name, value in answer.items() if value is not None} == told


@pytest.mark.parametrize("text", ["so", "<think>hm</think>so", "<think>hm", CALLING, CALLING + "\n" + CALLING[17:]])
@pytest.mark.parametrize("end", [FinishType.EOS_TOKEN, FinishType.LENGTH])
async def test_the_last_event_of_a_stream_holds_the_plain_response(says, text, end):
    async with says(text, FinishReason(end)) as client:
        plain, events = await ask(client, tools=[TOOL]), await stream(client, tools=[TOOL])
    last = events[-1]["response"]
    assert events[-1]["type"] == f"response.{plain['status']}"
    done = [event["item"] for event in events if event["type"] == "response.output_item.done"]
    assert last["output"] == done
    for answer in (plain, last):
        for item in answer["output"]:
            del item["id"]
            item.pop("call_id", None)
        for name in ("id", "created_at", "completed_at"):
            del answer[name]
    assert plain == last


async def test_thoughts_text_and_calls_are_items(says):
    async with says(CALLING) as client:
        answer = await ask(client, tools=[TOOL])
    thoughts, text, call = answer["output"]
    assert (thoughts["summary"], thoughts["content"]) == ([], [{"type": "reasoning_text", "text": "hm"}])
    assert text["content"][0]["text"] == "so"
    assert (call["name"], call["arguments"], call["status"]) == ("look", '{"at": "x"}', "completed")
    assert answer["usage"]["output_tokens_details"] == {"reasoning_tokens": 2}
    assert answer["status"] == "completed"


async def test_a_stream_begins_with_the_response_and_ends_with_it(client):
    events = await stream(client)
    assert [event["type"].removeprefix("response.") for event in events] == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "incomplete",
    ]
    assert (events[0]["response"]["status"], events[0]["response"]["output"]) == ("in_progress", [])


async def test_a_fault_fails_the_response(client, engine):
    engine.script = lambda submission: [Tokens(0, [99]), RequestFailed("broken")]
    *_, last = await stream(client)
    assert last["type"] == "response.failed"
    assert (last["response"]["status"], last["response"]["error"]["code"]) == ("failed", "server_error")
    response = await client.post("/v1/responses", json={"input": "ab"})
    assert (response.status_code, response.json()["error"]["type"]) == (500, "server_error")


async def test_a_developer_is_the_system_to_a_template_that_knows_none(client, engine):
    said = [{"role": "developer", "content": "x"}, {"role": "user", "content": "ab"}]
    assert (await ask(client, input=said))["usage"] == (await ask(client, input="ab", instructions="x"))["usage"]


async def test_our_own_outputs_and_progress_come_beside_the_response(client, engine):
    answer = await ask(client, outputs={"config": True})
    assert answer["native"]["generation_config"]
    engine.script = search
    events = await stream(client, num_beams=2, max_output_tokens=3, outputs={"progress": True})
    assert [event["type"] for event in events].count("response.progress") == 2


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"prompt_logprobs": 1}, "prompt_logprobs"),
        ({"return_token_ids": True}, "return_token_ids"),
        ({"n": 2}, "n"),
        ({"best_of": 2}, "best_of"),
        ({"input": []}, "input"),
        ({"previous_response_id": "x"}, "previous_response_id"),
        ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, "input[0].content[0]"),
        ({"text": {"format": {"type": "grammar"}}}, "text.format"),
        ({"reasoning": {"effort": "low"}}, "reasoning.effort"),
    ],
    ids=str,
)
async def test_a_body_that_cannot_be_obeyed_is_refused_by_name(client, body, param):
    response = await client.post("/v1/responses", json={"input": "ab"} | body)
    assert response.status_code == 400
    assert response.json()["error"]["param"] == param


async def test_log_probabilities_of_turns_that_may_be_more_than_text_are_refused(says):
    async with says("so") as client:
        response = await client.post("/v1/responses", json={"input": "ab", "top_logprobs": 1})
    assert response.json()["error"]["param"] == "top_logprobs"
