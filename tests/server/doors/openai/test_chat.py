"""What the fields that only conversations have become in our own request, one row a field."""

from pathlib import Path
from typing import Any

import pytest

from beamhouse.config.settings import Settings
from beamhouse.engine.link.errors import InvalidRequest
from beamhouse.schemas.openai.chat import ChatRequest
from beamhouse.server.doors.openai.chat import translate_chat
from beamhouse.server.service import Model, open_model
from tests.fakes import fake_info, save_byte_tokenizer

SAID = [{"role": "user", "content": "hi"}]
CALLED = {"id": "c", "type": "function", "function": {"name": "look", "arguments": "{}"}}
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}
STRICT = {"type": "function", "function": {**TOOL["function"], "strict": True}}
LOOK = {"type": "function", "function": {"name": "look"}}
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}
TEMPLATE = (
    "{% if tools %}{{ tools }}<tool_call></tool_call>{% endif %}{% for m in messages %}{{ m.content }}{% endfor %}"
)
CONFIG = {"do_sample": True, "temperature": 1.0, "top_p": 1.0, "top_k": 0, "num_return_sequences": 1}
OUTPUTS = {"include_stop_string": False}


def model_with(directory: Path, template: str) -> Model:
    info = fake_info(save_byte_tokenizer(directory), chat_template=template, reads_tools="tools" in template)
    return open_model(info, Settings())


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return model_with(tmp_path_factory.mktemp("model"), TEMPLATE)


def translated(body: dict[str, Any], model: Model) -> dict[str, Any]:
    request = ChatRequest.model_validate({"messages": SAID} | body)
    return translate_chat(request, model).model_dump(mode="json", exclude_none=True)


FULL = {"fill_context": True}
TABLE: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, FULL),
    ({"max_tokens": 5}, {"generation_config": CONFIG | {"max_new_tokens": 5}}),
    ({"max_completion_tokens": 5}, {"generation_config": CONFIG | {"max_new_tokens": 5}}),
    ({"max_length": 50}, {"generation_config": CONFIG | {"max_length": 50}}),
    ({"logprobs": True}, FULL | {"outputs": OUTPUTS | {"transition_scores": True, "logprobs": "raw"}}),
    (
        {"logprobs": True, "top_logprobs": 3},
        FULL | {"outputs": OUTPUTS | {"transition_scores": True, "top_n_tokens": 3, "logprobs": "raw"}},
    ),
    ({"logprobs": False}, FULL),
    ({"tools": [TOOL]}, FULL | {"tools": [TOOL]}),
    ({"tools": [TOOL], "tool_choice": "auto", "parallel_tool_calls": True}, FULL | {"tools": [TOOL]}),
    ({"tools": [TOOL], "tool_choice": "none"}, FULL),
    ({"add_generation_prompt": False}, FULL | {"add_generation_prompt": False}),
    ({"continue_final_message": True}, FULL | {"continue_final_message": True}),
    ({"chat_template_kwargs": {"a": 1}}, FULL | {"chat_template_kwargs": {"a": 1}}),
    ({"documents": [{"text": "x"}]}, FULL | {"documents": [{"text": "x"}]}),
    ({"reasoning_effort": "low"}, FULL | {"chat_template_kwargs": {"reasoning_effort": "low"}}),
    ({"include_reasoning": False, "modalities": ["text"], "verbosity": "medium"}, FULL),
    (
        {"messages": [{"role": "developer", "content": "x"}, *SAID]},
        FULL | {"messages": [{"role": "system", "content": "x"}, *SAID]},
    ),
]


@pytest.mark.parametrize(("body", "expected"), TABLE, ids=lambda value: str(value)[:60])
def test_each_field_becomes_one_of_ours(model: Model, body: dict[str, Any], expected: dict[str, Any]) -> None:
    silent = {"messages": SAID, "generation_config": CONFIG, "outputs": OUTPUTS}
    assert translated(body, model) == silent | expected


HELD: list[tuple[dict[str, Any], str]] = [
    ({"tools": [TOOL], "tool_choice": "required"}, "tool_choice"),
    ({"tools": [TOOL], "tool_choice": LOOK}, "tool_choice"),
    ({"tools": [TOOL], "parallel_tool_calls": False}, "tools"),
    ({"tools": [STRICT]}, "tools"),
    ({"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA}}}, "response_format"),
    ({"response_format": {"type": "json_object", "value": SCHEMA}}, "response_format"),
    ({"response_format": {"type": "json_object"}, "tools": [TOOL]}, "response_format"),
]


@pytest.mark.parametrize(("body", "field"), HELD)
def test_what_holds_the_turn_is_told_of_as_the_field_that_asked(model: Model, body: dict[str, Any], field: str) -> None:
    native = translate_chat(ChatRequest.model_validate({"messages": SAID} | body), model)
    assert native.prefix_allowed_tokens is not None
    assert native.given_names["prefix_allowed_tokens"] == field


def test_a_schema_that_cannot_be_held_to_is_told_of_as_the_tools(model: Model) -> None:
    forced = {"tools": [TOOL], "tool_choice": "required"}
    native = translate_chat(ChatRequest.model_validate({"messages": SAID} | forced), model)
    assert native.given_names["prefix_allowed_tokens.grammar"] == "tools"


def test_a_turn_that_begins_inside_the_thoughts_is_held_behind_them(tmp_path: Path) -> None:
    thinks = "{% if add_generation_prompt and effort %}<think>{% endif %}{# </think> #}"
    model = model_with(tmp_path, TEMPLATE + "{{ '<think></think>' if false }}" + thinks)
    body = {"tools": [TOOL], "tool_choice": "required"}
    outside = translated(body, model)["prefix_allowed_tokens"]
    inside = translated(body | {"chat_template_kwargs": {"effort": True}}, model)["prefix_allowed_tokens"]
    assert outside != inside


def test_forced_calls_need_no_template_that_shows_tools(tmp_path: Path) -> None:
    shows_none = model_with(tmp_path, "{% for m in messages %}{{ m.content }}{% endfor %}")
    native = translated({"tools": [TOOL], "tool_choice": "required"}, shows_none)
    assert "tools" not in native
    assert "look" in native["prefix_allowed_tokens"]["grammar"]


@pytest.mark.parametrize(
    ("body", "field", "code"),
    [
        ({"tool_choice": "required"}, "tool_choice", "missing"),
        ({"tools": [TOOL], "tool_choice": {**LOOK, "function": {"name": "x"}}}, "tool_choice", "unknown_name"),
        ({"tools": [TOOL], "tool_choice": "required", "guided_regex": "a"}, "tool_choice", "conflict"),
        ({"response_format": {"type": "json_object"}, "guided_regex": "a"}, "response_format", "conflict"),
        ({"max_tokens": 3, "max_completion_tokens": 4}, "max_completion_tokens", "conflict"),
    ],
)
def test_what_contradicts_itself_is_refused(model: Model, body: dict[str, Any], field: str, code: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        translated(body, model)
    (problem,) = raised.value.problems
    assert (problem.field, problem.code) == (field, code)


def test_calls_and_their_results_come_back_as_messages(model: Model) -> None:
    messages = [
        *SAID,
        {"role": "assistant", "content": None, "tool_calls": [CALLED]},
        {"role": "tool", "tool_call_id": "c", "content": "found"},
    ]
    _, call, result = translated({"messages": messages}, model)["messages"]
    assert call["tool_calls"][0]["function"] == {"name": "look", "arguments": {}}
    assert (result["tool_call_id"], result["content"]) == ("c", "found")
