"""`huggingface_hub.InferenceClient.chat_completion` against a real server: plain, streamed, schemas, tools."""

import json
from typing import Any

import pytest
from huggingface_hub import InferenceClient
from huggingface_hub.errors import HfHubHTTPError

from tests.deploy.processes import Replica

STORY = [{"role": "user", "content": "Once upon a time"}]
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"name": {"enum": ["fox", "bear"]}},
    "required": ["name"],
    "additionalProperties": False,
}
TOOL = {"type": "function", "function": {"name": "remember", "description": "an animal", "parameters": SCHEMA}}


@pytest.fixture(params=["", "/v1"])
def client(server: Replica, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> InferenceClient:
    """Of the server, by either of the addresses that users write; tests are offline, but for their own machine."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    return InferenceClient(f"{server.url}{request.param}", timeout=60)


def test_a_stream_comes_to_the_plain_answer(client: InferenceClient) -> None:
    plain = client.chat_completion(STORY, max_tokens=12, seed=3)
    chunks = list(client.chat_completion(STORY, max_tokens=12, seed=3, stream=True))
    pieces = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    assert "".join(pieces) == plain.choices[0].message.content
    assert plain.usage.completion_tokens == 12
    assert chunks[-1].choices[0].finish_reason == plain.choices[0].finish_reason == "length"


def test_every_parameter_of_the_method_is_taken(client: InferenceClient) -> None:
    answer = client.chat_completion(
        STORY,
        frequency_penalty=0.5,
        logit_bias=None,
        logprobs=True,
        max_tokens=6,
        n=2,
        presence_penalty=0.5,
        seed=1,
        stop=["zebra"],
        temperature=0.8,
        top_logprobs=2,
        top_p=0.9,
        extra_body={"top_k": 20, "repetition_penalty": 1.1},
    )
    assert len(answer.choices) == 2
    assert len(answer.choices[0].logprobs.content[0].top_logprobs) == 2


@pytest.mark.parametrize(
    "response_format",
    [
        {"type": "json_schema", "json_schema": {"name": "animal", "schema": SCHEMA, "strict": True}},
        {"type": "json_object", "value": SCHEMA},
        {"type": "json", "value": SCHEMA},
    ],
)
def test_an_answer_follows_the_schema(client: InferenceClient, response_format: dict[str, Any]) -> None:
    answer = client.chat_completion(STORY, response_format=response_format, max_tokens=40, seed=1)
    assert json.loads(answer.choices[0].message.content)["name"] in ("fox", "bear")


def test_a_tool_that_must_be_called_is(client: InferenceClient) -> None:
    answer = client.chat_completion(STORY, tools=[TOOL], tool_choice="required", max_tokens=80, seed=1)
    (call, *_) = answer.choices[0].message.tool_calls
    assert call.function.name == "remember"
    assert json.loads(call.function.arguments)["name"] in ("fox", "bear")


def test_what_cannot_be_obeyed_is_told(client: InferenceClient) -> None:
    with pytest.raises(HfHubHTTPError, match="top_logprobs go with logprobs"):
        client.chat_completion(STORY, top_logprobs=2)
