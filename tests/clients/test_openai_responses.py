"""`responses` of the `openai` package against a real server."""

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai import OpenAI
from pydantic import BaseModel

from tests.deploy.processes import Replica

STORY = "Once upon a time"
GIVEN: dict[str, Any] = {"model": "any", "input": STORY, "max_output_tokens": 12}
WEATHER = {
    "type": "function",
    "name": "weather",
    "description": "Tells the weather of a city.",
    "parameters": {
        "type": "object",
        "properties": {"city": {"enum": ["Oslo", "Rome"]}},
        "required": ["city"],
        "additionalProperties": False,
    },
    "strict": True,
}
FORCED = {"tools": [WEATHER], "tool_choice": "required", "parallel_tool_calls": False, "temperature": 0}
CASES: dict[str, dict[str, Any]] = {
    "greedy": {"temperature": 0},
    "drawn": {"temperature": 0.9, "top_p": 0.9, "extra_body": {"seed": 7, "top_k": 20}},
    "a beam search": {"extra_body": {"num_beams": 3}},
    "instructions and items": {
        "instructions": "Be brief.",
        "input": [{"role": "user", "content": [{"type": "input_text", "text": STORY}]}],
        "temperature": 0,
    },
    "log-probabilities": {"temperature": 0, "include": ["message.output_text.logprobs"], "top_logprobs": 2},
    "log-probabilities of a search": {"extra_body": {"num_beams": 2}, "include": ["message.output_text.logprobs"]},
    "a forced call": {**FORCED, "max_output_tokens": 60},
    "the call that is named": {
        **FORCED,
        "tool_choice": {"type": "function", "name": "weather"},
        "max_output_tokens": 60,
    },
    "what is told back": {"metadata": {"a": "b"}, "user": "me", "temperature": 0},
}


@pytest.fixture(scope="module")
def client(server: Replica) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as opened:
        yield opened


def lasting(response: Any) -> dict[str, Any]:
    """A response without what differs from one time to another."""
    told = response.to_dict()
    for item in told["output"]:
        item.pop("id")
        item.pop("call_id", None)
    usage = told.pop("usage")
    usage["input_tokens_details"].pop("cached_tokens")
    return {name: told[name] for name in told.keys() - {"id", "created_at", "completed_at"}} | {"usage": usage}


@pytest.mark.parametrize("case", CASES)
def test_the_last_event_of_a_stream_holds_the_plain_response(client: OpenAI, case: str) -> None:
    fields = GIVEN | CASES[case]
    plain = client.responses.create(**fields)
    events = list(client.responses.create(**fields, stream=True))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert [event.type for event in events[:2]] == ["response.created", "response.in_progress"]
    assert events[-1].type == f"response.{plain.status}"
    assert lasting(events[-1].response) == lasting(plain)
    texts = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert texts == plain.output_text
    done = [event.item.to_dict() for event in events if event.type == "response.output_item.done"]
    assert done == [item.to_dict() for item in events[-1].response.output]
    likely = [one for event in events if event.type == "response.output_text.delta" for one in event.logprobs]
    assert len(likely) == (plain.usage.output_tokens if "include" in fields else 0)


def test_the_stream_helper_comes_to_the_plain_response(client: OpenAI) -> None:
    fields = GIVEN | {"max_output_tokens": 60, "temperature": 0, "extra_body": {"stop": "."}}
    with client.responses.stream(**fields) as stream:
        for _ in stream:
            pass
        final = stream.get_final_response()
    assert final.output_text == client.responses.create(**fields).output_text


class Fox(BaseModel):
    """What the answer is to be."""

    is_red: bool


def test_an_answer_is_parsed_by_the_schema_it_is_held_to(client: OpenAI) -> None:
    response = client.responses.parse(**GIVEN | {"max_output_tokens": 40}, temperature=0, text_format=Fox)
    assert isinstance(response.output_parsed, Fox)
    assert response.status == "completed"


def test_a_call_that_is_forced_is_made_as_its_schema_says(client: OpenAI) -> None:
    response = client.responses.create(**GIVEN | FORCED | {"max_output_tokens": 60})
    (call,) = response.output
    assert (call.type, call.name, call.status) == ("function_call", "weather", "completed")
    assert json.loads(call.arguments)["city"] in ("Oslo", "Rome")


def test_an_answer_goes_back_as_it_came(client: OpenAI) -> None:
    first = client.responses.create(**GIVEN, temperature=0)
    said = [{"role": "user", "content": STORY}, *(item.to_dict() for item in first.output)]
    more = client.responses.create(**GIVEN | {"input": [*said, {"role": "user", "content": "And then?"}]})
    assert more.usage.input_tokens > first.usage.input_tokens


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"store": True}, "store"),
        ({"background": True}, "background"),
        ({"truncation": "auto"}, "truncation"),
        ({"tools": [{"type": "web_search"}]}, "tools[0]"),
        ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "input[0]"),
        ({"include": ["reasoning.encrypted_content"]}, "include[0]"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"reasoning": {"effort": "low"}}, "reasoning.effort"),
        ({"max_output_tokens": 100_000}, "max_output_tokens"),
        ({"extra_body": {"n": 2}}, "n"),
    ],
    ids=str,
)
def test_what_cannot_be_obeyed_is_refused_by_name(client: OpenAI, fields: dict[str, Any], param: str) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.responses.create(**GIVEN | fields)
    assert refused.value.param == param
