"""The `anthropic` package against a real server."""

import json
from collections.abc import Iterator
from typing import Any

import anthropic
import pytest
from anthropic import Anthropic

from tests.deploy.processes import Replica

STORY = [{"role": "user", "content": "Once upon a time"}]


@pytest.fixture(scope="module")
def client(server: Replica) -> Iterator[Anthropic]:
    with Anthropic(base_url=server.url, api_key="none", max_retries=0) as opened:
        yield opened


def given(**fields: Any) -> dict[str, Any]:
    """Arguments of the client. What it has no argument for any more, or never had, goes into the body beside them."""
    known = {"max_tokens", "messages", "system", "stop_sequences", "tools", "tool_choice", "output_config", "thinking"}
    beside = {name: value for name, value in fields.items() if name not in known}
    own = {name: value for name, value in fields.items() if name in known}
    return {"model": "claude-opus-5", "max_tokens": 12, "messages": STORY, **own, "extra_body": beside}


def ask(client: Anthropic, **fields: Any) -> Any:
    return client.messages.create(**given(**fields))


CASES: dict[str, dict[str, Any]] = {
    "greedy": {"temperature": 0},
    "drawn": {"temperature": 0.9, "top_p": 0.9, "top_k": 20, "seed": 7},
    "a beam search": {"num_beams": 3},
    "a stop sequence": {"temperature": 0, "max_tokens": 60, "stop_sequences": ["."]},
    "a system prompt": {"temperature": 0, "system": [{"type": "text", "text": "Be brief."}]},
    "an answer that goes on": {"temperature": 0, "messages": [*STORY, {"role": "assistant", "content": "there was a"}]},
}


@pytest.mark.parametrize("case", CASES)
def test_a_stream_joined_by_the_client_is_the_plain_message(client: Anthropic, case: str) -> None:
    plain = ask(client, **CASES[case])
    with client.messages.stream(**given(**CASES[case])) as stream:
        texts = "".join(stream.text_stream)
        streamed = stream.get_final_message()
    told = [one.to_dict() | {"id": "", "usage": None} for one in (plain, streamed)]
    assert told[0] == told[1]
    assert texts == "".join(block.text for block in plain.content)
    assert plain.usage.output_tokens == streamed.usage.output_tokens
    for usage in (plain.usage, streamed.usage):
        assert usage.input_tokens + usage.cache_read_input_tokens == count(client, **CASES[case])


def count(client: Anthropic, **fields: Any) -> int:
    shown = {name: value for name, value in fields.items() if name in ("system", "messages")}
    return client.messages.count_tokens(**{"model": "any", "messages": STORY} | shown).input_tokens


def test_the_stop_sequence_that_ended_a_message_is_told(client: Anthropic) -> None:
    message = ask(client, temperature=0, max_tokens=60, stop_sequences=["."])
    assert (message.stop_reason, message.stop_sequence) == ("stop_sequence", ".")
    assert "." not in message.content[0].text


def test_a_message_can_be_sent_back_as_it_came(client: Anthropic) -> None:
    message = ask(client, temperature=0)
    more = ask(client, messages=[*STORY, {"role": "assistant", "content": message.content}, *STORY])
    assert more.usage.output_tokens == 12


def test_every_request_has_an_id(client: Anthropic) -> None:
    raw = client.messages.with_raw_response.create(model="any", max_tokens=1, messages=STORY)
    assert raw.parse()._request_id == raw.headers["x-request-id"]


def test_problems_have_the_types_of_the_client(client: Anthropic) -> None:
    with pytest.raises(anthropic.BadRequestError) as wrong:
        ask(client, top_p=2)
    assert wrong.value.body["error"]["type"] == "invalid_request_error"
    assert wrong.value.request_id == wrong.value.body["request_id"]
    with pytest.raises(anthropic.BadRequestError, match="image"):
        ask(client, messages=[{"role": "user", "content": [{"type": "image", "source": {"type": "url", "url": "x"}}]}])
    with pytest.raises(anthropic.NotFoundError):
        client.messages.batches.list()


def test_the_beta_routes_answer_too(client: Anthropic) -> None:
    message = client.beta.messages.create(betas=["context-management-2025-06-27"], **given(temperature=0, max_tokens=3))
    assert message.content[0].text == ask(client, temperature=0, max_tokens=3).content[0].text


WEATHER = {
    "name": "weather",
    "description": "Tells the weather of a city.",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"enum": ["Oslo", "Rome"]}, "days": {"type": "integer", "minimum": 1, "maximum": 9}},
        "required": ["city", "days"],
        "additionalProperties": False,
    },
}


@pytest.mark.parametrize("choice", [{"type": "any"}, {"type": "tool", "name": "weather"}])
def test_a_call_that_is_forced_is_made_as_its_schema_says(client: Anthropic, choice: dict[str, str]) -> None:
    once = {**choice, "disable_parallel_tool_use": True}
    fields = {"tools": [WEATHER], "tool_choice": once, "temperature": 0, "max_tokens": 80}
    plain = ask(client, **fields)
    with client.messages.stream(**given(**fields)) as stream:
        streamed = stream.get_final_message()
    assert plain.stop_reason == "tool_use"
    for message in (plain, streamed):
        (call,) = message.content
        assert (call.type, call.name) == ("tool_use", "weather")
        assert call.input["city"] in ("Oslo", "Rome")
        assert 1 <= call.input["days"] <= 9
    assert plain.content[0].input == streamed.content[0].input
    said = [*STORY, {"role": "assistant", "content": plain.content}]
    result = {"type": "tool_result", "tool_use_id": plain.content[0].id, "content": "rain"}
    answer = ask(client, messages=[*said, {"role": "user", "content": [result]}], tools=[WEATHER], max_tokens=4)
    assert answer.usage.input_tokens > plain.usage.input_tokens  # the call and its result are in the prompt
    assert answer.stop_reason == "max_tokens"


def test_a_form_of_the_answer_is_held(client: Anthropic) -> None:
    schema = {"type": "object", "properties": {"fox": {"type": "boolean"}}, "required": ["fox"]}
    held = {"format": {"type": "json_schema", "schema": {**schema, "additionalProperties": False}}}
    message = ask(client, output_config=held, temperature=0, max_tokens=40)
    assert list(json.loads(message.content[0].text)) == ["fox"]
