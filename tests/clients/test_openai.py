"""The `openai` package against a real server: completions, chat and models, plain and streamed."""

import json
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import openai
import pytest
from openai import OpenAI
from pydantic import BaseModel, Field

from tests.deploy.processes import Replica

STORY = [{"role": "user", "content": "Once upon a time"}]


@pytest.fixture(scope="module")
def client(server: Replica) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as opened:
        yield opened


def test_the_served_model_is_listed_and_found(client: OpenAI) -> None:
    (model,) = client.models.list().data
    assert client.models.retrieve(model.id) == model
    with pytest.raises(openai.NotFoundError) as raised:
        client.models.retrieve("gpt-4")
    assert (raised.value.code, raised.value.param) == ("model_not_found", "model")


def complete(client: OpenAI, **fields: Any) -> Any:
    return client.completions.create(**{"model": "any", "prompt": "Once upon a time", "max_tokens": 12} | fields)


def streamed(client: OpenAI, **fields: Any) -> dict[str, Any]:
    """What the chunks of a stream come to, in the shape of a plain answer."""
    choices: dict[int, dict[str, Any]] = {}
    usage = None
    for chunk in complete(client, stream=True, stream_options={"include_usage": True}, **fields):
        usage = chunk.usage or usage
        for piece in chunk.choices:
            choice = choices.setdefault(piece.index, {"text": "", "logprobs": None, "finish_reason": None})
            choice["text"] += piece.text
            choice["finish_reason"] = piece.finish_reason or choice["finish_reason"]
            if piece.logprobs is not None:
                told = piece.logprobs.model_dump()
                before = choice["logprobs"]
                choice["logprobs"] = told if before is None else {name: before[name] + told[name] for name in told}
    return {"choices": [choices[index] for index in sorted(choices)], "usage": usage.model_dump()}


def plain(client: OpenAI, **fields: Any) -> dict[str, Any]:
    answer = complete(client, **fields)
    told = [choice.model_dump(include={"text", "logprobs", "finish_reason"}) for choice in answer.choices]
    return {"choices": told, "usage": answer.usage.model_dump()}


CASES: dict[str, dict[str, Any]] = {
    "greedy": {"temperature": 0},
    "drawn": {"seed": 7, "temperature": 0.9, "top_p": 0.9, "frequency_penalty": 0.5, "presence_penalty": 0.2},
    "several": {"seed": 7, "n": 3},
    "copies": {"temperature": 0, "n": 2},
    "prompts": {"prompt": ["Once", "The fox"], "temperature": 0},
    "ids": {"prompt": [1, 350, 412], "temperature": 0},
    "lists of ids": {"prompt": [[1, 350], [1, 412]], "temperature": 0},
    "stop": {"temperature": 0, "max_tokens": 40, "stop": ["time", "."]},
    "echo": {"temperature": 0, "echo": True},
    "log-probabilities": {"temperature": 0, "logprobs": 3},
    "echo with log-probabilities": {"temperature": 0, "echo": True, "logprobs": 2},
    "prompt alone": {"max_tokens": 0, "echo": True, "logprobs": 1},
    "beams": {"n": 2, "extra_body": {"num_beams": 4}},
    "beams of vLLM": {"n": 2, "best_of": 3, "logprobs": 1, "extra_body": {"use_beam_search": True}},
    "contrastive": {"extra_body": {"penalty_alpha": 0.6, "top_k": 4}},
    "DoLa": {"extra_body": {"generation_config": {"dola_layers": "low"}}},
    "assisted": {"temperature": 0, "extra_body": {"assistant_model": "draft"}},
    "constrained": {"max_tokens": 20, "extra_body": {"num_beams": 4, "force_words": ["dragon"]}},
    "choice": {"temperature": 0, "extra_body": {"guided_choice": [" yes.", " no"]}},
    "words of vLLM": {"seed": 3, "extra_body": {"top_k": 5, "min_p": 0.05, "repetition_penalty": 1.1, "min_tokens": 5}},
}


@pytest.mark.parametrize("fields", CASES.values(), ids=CASES)
def test_a_stream_comes_to_the_plain_answer(client: OpenAI, fields: dict[str, Any]) -> None:
    expected, found = plain(client, **fields), streamed(client, **fields)
    for usage in (expected["usage"], found["usage"]):
        del usage["prompt_tokens_details"]  # the second one finds the prompt in the cache
    assert found == expected


def chat(client: OpenAI, **fields: Any) -> Any:
    body = {"model": "any", "messages": STORY, "max_completion_tokens": 12} | fields
    return client.chat.completions.create(**body)


def chat_streamed(client: OpenAI, **fields: Any) -> dict[str, Any]:
    """What the chunks of a stream come to, in the shape of a plain answer."""
    choices: dict[int, dict[str, Any]] = {}
    usage = None
    for chunk in chat(client, stream=True, stream_options={"include_usage": True}, **fields):
        usage = chunk.usage or usage
        for piece in chunk.choices:
            silent = {"content": "", "calls": [], "logprobs": [], "finish_reason": None}
            choice = choices.setdefault(piece.index, silent)
            choice["content"] += piece.delta.content or ""
            choice["finish_reason"] = piece.finish_reason or choice["finish_reason"]
            choice["logprobs"] += piece.logprobs.content if piece.logprobs is not None else []
            for call in piece.delta.tool_calls or []:
                if call.id is not None:
                    choice["calls"].append([call.function.name, ""])
                choice["calls"][call.index][1] += call.function.arguments or ""
    return {"choices": [choices[index] for index in sorted(choices)], "usage": usage.completion_tokens}


def chat_plain(client: OpenAI, **fields: Any) -> dict[str, Any]:
    answer = chat(client, **fields)
    told = [
        {
            "content": choice.message.content or "",
            "calls": [[call.function.name, call.function.arguments] for call in choice.message.tool_calls or []],
            "logprobs": choice.logprobs.content if choice.logprobs is not None else [],
            "finish_reason": choice.finish_reason,
        }
        for choice in answer.choices
    ]
    return {"choices": told, "usage": answer.usage.completion_tokens}


SCHEMA = {
    "type": "object",
    "properties": {"name": {"enum": ["fox", "bear"]}, "age": {"type": "integer", "minimum": 0, "maximum": 9}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
TOOLS: list[dict[str, Any]] = [
    {"type": "function", "function": {"name": "remember", "parameters": SCHEMA}},
    {"type": "function", "function": {"name": "forget", "parameters": {"type": "object", "properties": {}}}},
]
AS_JSON = {"type": "json_schema", "json_schema": {"name": "animal", "schema": SCHEMA, "strict": True}}
CHATS: dict[str, dict[str, Any]] = {
    "greedy": {"temperature": 0},
    "drawn": {"seed": 3, "n": 2, "logprobs": True, "top_logprobs": 2},
    "beams": {"n": 2, "logprobs": True, "extra_body": {"num_beams": 3}},
    "to the end of the context": {"max_completion_tokens": None, "seed": 1},
    "stop": {"temperature": 0, "max_completion_tokens": 60, "stop": "."},
    "schema": {"seed": 1, "max_completion_tokens": 60, "response_format": AS_JSON},
    "required": {"seed": 1, "max_completion_tokens": 80, "tools": TOOLS, "tool_choice": "required"},
    "named": {
        "seed": 1,
        "max_completion_tokens": 80,
        "tools": TOOLS,
        "tool_choice": {"type": "function", "function": {"name": "remember"}},
        "parallel_tool_calls": False,
    },
}


@pytest.mark.parametrize("fields", CHATS.values(), ids=CHATS)
def test_a_stream_of_chat_comes_to_the_plain_answer(client: OpenAI, fields: dict[str, Any]) -> None:
    assert chat_streamed(client, **fields) == chat_plain(client, **fields)


def test_a_named_tool_is_called_with_arguments_of_its_schema(client: OpenAI) -> None:
    (choice,) = chat(client, **CHATS["named"]).choices
    (call,) = choice.message.tool_calls
    assert choice.finish_reason == "tool_calls"
    assert call.function.name == "remember"
    arguments = json.loads(call.function.arguments)
    assert arguments["name"] in ("fox", "bear")
    assert 0 <= arguments["age"] <= 9


def test_the_result_of_a_call_goes_on_with_the_conversation(client: OpenAI) -> None:
    (choice,) = chat(client, **CHATS["named"]).choices
    (call,) = choice.message.tool_calls
    messages = [*STORY, choice.message.model_dump(), {"role": "tool", "tool_call_id": call.id, "content": "done"}]
    assert chat(client, messages=messages, temperature=0).choices[0].message.content


def test_an_answer_follows_the_schema(client: OpenAI) -> None:
    (choice,) = chat(client, **CHATS["schema"]).choices
    assert json.loads(choice.message.content).keys() == {"name", "age"}


def test_the_package_parses_an_answer_into_a_model(client: OpenAI) -> None:
    class Animal(BaseModel):
        name: Literal["fox", "bear"]
        age: Annotated[int, Field(ge=0, le=9)]

    parsed = client.chat.completions.parse(
        model="any", messages=STORY, response_format=Animal, seed=1, max_completion_tokens=60
    )
    assert isinstance(parsed.choices[0].message.parsed, Animal)


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"suffix": "x"}, "suffix", "not_supported"),
        ({"max_tokens": 100_000}, "max_tokens", "context_length_exceeded"),
        ({"extra_body": {"nobody": 1}}, "nobody", "unknown_field"),
        ({"extra_body": {"guided_grammar": "start: ("}}, "guided_grammar", "invalid_grammar"),
        ({"extra_body": {"guided_json": {"type": "nothing"}}}, "guided_json", "invalid_grammar"),
    ],
)
def test_what_cannot_be_obeyed_is_an_error_of_the_package(
    client: OpenAI, fields: dict[str, Any], param: str, code: str
) -> None:
    with pytest.raises(openai.BadRequestError) as raised:
        complete(client, **fields)
    assert raised.value.param is not None
    assert (raised.value.param.partition(".")[0], raised.value.code) == (param, code)


def test_an_unsupported_keyword_of_a_schema_is_named(client: OpenAI) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string", "not": {"const": "b"}}}, "required": ["a"]}
    body = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}
    with pytest.raises(openai.BadRequestError, match="not") as raised:
        chat(client, response_format=body)
    assert (raised.value.param or "").startswith("response_format")
