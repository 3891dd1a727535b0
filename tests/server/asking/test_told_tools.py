"""Models whose chat template shows no tools are told of them in words, and of what was called before."""

import json
from typing import Any

import pytest

from beamhouse.config.settings import Settings
from beamhouse.schemas.anthropic.messages import MessagesRequest
from beamhouse.schemas.openai.chat import ChatRequest
from beamhouse.schemas.openai.responses import ResponsesRequest
from beamhouse.server.asking.told_tools import FORCED, FREE
from beamhouse.server.doors.anthropic.translation import translate_messages
from beamhouse.server.doors.openai.chat import translate_chat
from beamhouse.server.doors.openai.conversations import expected_of
from beamhouse.server.doors.openai.responses import translate_response
from beamhouse.server.service import Model, open_model
from tests.fakes import fake_info, save_byte_tokenizer

TEMPLATE = "{% for m in messages %}{{ m.content }}{% endfor %}"
READS_CALLS = TEMPLATE + "{% for m in messages if m.tool_calls %}{{ m.tool_calls }}{% endfor %}"
SCHEMA = {"type": "object", "properties": {"at": {"type": "string"}}}
TOOL = {"type": "function", "function": {"name": "look", "description": "Looks.", "parameters": SCHEMA}}
OFFERED = json.dumps(TOOL["function"])
USER = {"role": "user", "content": "hi"}
CALL = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"at": "sea"}'}}
CALLED = {"role": "assistant", "content": None, "tool_calls": [CALL]}
RESULT = {"role": "tool", "tool_call_id": "c1", "content": "blue"}
WRITTEN = '{"name": "look", "arguments": {"at": "sea"}}'


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_byte_tokenizer(tmp_path_factory.mktemp("model"))


def model_of(tokenizer: str, template: str = TEMPLATE, **settings: Any) -> Model:
    return open_model(fake_info(tokenizer, chat_template=template), Settings(**settings))


@pytest.fixture(scope="module")
def model(tokenizer: str) -> Model:
    return model_of(tokenizer)


def messages_of(model: Model, *messages: dict[str, Any], **beside: Any) -> list[dict[str, Any]]:
    native = translate_chat(ChatRequest.model_validate({"messages": list(messages)} | beside), model)
    assert native.tools is None
    return [message.as_given() for message in native.messages or ()]


def test_the_user_is_told_of_tools_before_what_the_user_says(model: Model) -> None:
    (message,) = messages_of(model, USER, tools=[TOOL])
    assert message["role"] == "user"
    assert message["content"].startswith(FREE)
    assert message["content"].endswith(f"\n{OFFERED}\n\nhi")
    assert '{"name": "NAME", "arguments": {"PARAMETER": VALUE}}' in message["content"]


def test_a_system_that_says_something_says_the_tools_too(model: Model) -> None:
    system, user = messages_of(model, {"role": "system", "content": "Be kind."}, USER, tools=[TOOL])
    assert system["content"].startswith(f"Be kind.\n\n{FREE}")
    assert user == USER


def test_parts_stay_parts(model: Model) -> None:
    parts = [{"type": "text", "text": "hi"}]
    (message,) = messages_of(model, {"role": "user", "content": parts}, tools=[TOOL])
    assert message["content"][1:] == parts
    assert OFFERED in message["content"][0]["text"]


def test_who_has_to_call_is_told_so(model: Model) -> None:
    (message,) = messages_of(model, USER, tools=[TOOL], tool_choice="required")
    assert message["content"].startswith(FORCED)


def test_who_may_not_call_is_told_of_no_tool(model: Model) -> None:
    assert messages_of(model, USER, tools=[TOOL], tool_choice="none") == [USER]


def test_calls_and_their_results_are_said_in_words(model: Model) -> None:
    said = messages_of(model, USER, CALLED, RESULT)
    assert said == [
        USER,
        {"role": "assistant", "content": WRITTEN},
        {"role": "user", "content": "Result of look:\nblue"},
    ]


def test_results_and_what_the_user_says_behind_them_are_one_turn(model: Model) -> None:
    other = {"role": "tool", "content": "red", "name": "see"}
    both = {"role": "assistant", "content": "I look.", "tool_calls": [CALL, CALL]}
    _, called, results = messages_of(model, USER, both, RESULT, other, {"role": "user", "content": "so?"})
    assert called["content"] == f"I look.\n\n{WRITTEN}\n{WRITTEN}"
    assert results["content"] == "Result of look:\nblue\n\nResult of see:\nred\n\nso?"


def test_a_template_that_reads_calls_gets_them_as_they_are(tokenizer: str) -> None:
    said = messages_of(model_of(tokenizer, READS_CALLS), USER, CALLED, RESULT)
    assert [message["role"] for message in said] == ["user", "assistant", "tool"]
    assert "tool_calls" in said[1]


def test_tools_are_told_in_the_form_that_was_set(tokenizer: str) -> None:
    (message,) = messages_of(model_of(tokenizer, model={"tool_format": "hermes"}), USER, tools=[TOOL])
    assert "<tool_call>" in message["content"]


def test_a_form_that_writes_no_json_is_left_to_templates(tokenizer: str) -> None:
    body = ChatRequest.model_validate({"messages": [USER], "tools": [TOOL]})
    native = translate_chat(body, model_of(tokenizer, model={"tool_format": "tool_code"}))
    assert native.tools is not None


def test_calls_of_a_model_that_was_told_in_words_are_read(model: Model) -> None:
    body = ChatRequest.model_validate({"messages": [USER], "tools": [TOOL]})
    assert expected_of(body).form(model).tools is not None
    silent = ChatRequest.model_validate({"messages": [USER], "tools": [TOOL], "tool_choice": "none"})
    assert expected_of(silent).form(model).tools is None


def test_all_protocols_tell_the_same(model: Model) -> None:
    (chat,) = messages_of(model, USER, tools=[TOOL])
    flat = {"type": "function", "name": "look", "description": "Looks.", "parameters": SCHEMA}
    response = translate_response(ResponsesRequest.model_validate({"input": "hi", "tools": [flat]}), model)
    tool = {"name": "look", "description": "Looks.", "input_schema": SCHEMA}
    asked = {"max_tokens": 5, "messages": [USER], "tools": [tool]}
    message = translate_messages(MessagesRequest.model_validate(asked), model)
    for native in (response, message):
        assert [said.as_given() for said in native.messages or ()] == [chat]
