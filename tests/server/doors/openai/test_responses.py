"""What each field of `POST /v1/responses` becomes in our own request, one row a field."""

from pathlib import Path
from typing import Any

import pytest
from openai.types.responses.response_create_params import ResponseCreateParamsBase

from beamhouse.config.settings import Settings
from beamhouse.schemas.openai.responses import ResponsesRequest
from beamhouse.server.doors.openai.responses import translate_response
from beamhouse.server.service import Model, open_model
from tests.fakes import fake_info, save_byte_tokenizer

SAID = [{"role": "user", "content": "hi"}]
FUNCTION = {"name": "look", "parameters": {"type": "object", "properties": {}}}
TOOL = {"type": "function", **FUNCTION}
OURS = {"tools": [{"type": "function", "function": FUNCTION}]}
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}
TEMPLATE = (
    "{% if tools %}{{ tools }}<tool_call></tool_call>{% endif %}{% for m in messages %}{{ m.content }}{% endfor %}"
    "{{ reasoning_effort }}"
)
CONFIG = {"do_sample": True, "temperature": 1.0, "top_p": 1.0, "top_k": 0, "num_return_sequences": 1}
WHOLE = {
    "messages": SAID,
    "generation_config": CONFIG,
    "outputs": {"include_stop_string": False},
    "fill_context": True,
}
LOGPROBS = {"outputs": {"include_stop_string": False, "transition_scores": True, "logprobs": "raw"}}
TABLE: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {}),
    ({"input": SAID}, {}),
    ({"instructions": "x"}, {"messages": [{"role": "system", "content": "x"}, *SAID]}),
    (
        {"max_output_tokens": 5},
        {"generation_config": CONFIG | {"max_new_tokens": 5}, "fill_context": None},
    ),
    ({"temperature": 0.5}, {"generation_config": CONFIG | {"temperature": 0.5}}),
    ({"temperature": 0}, {"generation_config": {"do_sample": False, "num_return_sequences": 1}}),
    ({"top_p": 0.5}, {"generation_config": CONFIG | {"top_p": 0.5}}),
    ({"repetition_penalty": 1.5}, {"generation_config": CONFIG | {"repetition_penalty": 1.5}}),
    ({"stop": "x"}, {"generation_config": CONFIG | {"stop_strings": "x"}}),
    ({"seed": 3}, {"seed": 3}),
    ({"stream": True}, {"stream": True}),
    ({"tools": [TOOL]}, OURS),
    ({"tools": [TOOL], "tool_choice": "auto", "parallel_tool_calls": True}, OURS),
    ({"tools": [TOOL], "tool_choice": "none"}, {}),
    ({"text": {"format": {"type": "text"}, "verbosity": "medium"}}, {}),
    (
        {"text": {"format": {"type": "json_schema", "name": "a", "schema": SCHEMA, "strict": True}}},
        {"prefix_allowed_tokens": {"json_schema": SCHEMA}},
    ),
    ({"text": {"format": {"type": "json_object"}}}, {"prefix_allowed_tokens": {"json_schema": {"type": "object"}}}),
    ({"reasoning": {"effort": "low"}}, {"chat_template_kwargs": {"reasoning_effort": "low"}}),
    ({"reasoning": {"summary": "auto"}}, {}),
    ({"include": ["message.output_text.logprobs"]}, LOGPROBS),
    ({"top_logprobs": 2}, {"outputs": LOGPROBS["outputs"] | {"top_n_tokens": 2}}),
    (
        {
            "metadata": {"a": "b"},
            "user": "me",
            "safety_identifier": "me",
            "prompt_cache_key": "a",
            "prompt_cache_retention": "in_memory",
            "service_tier": "auto",
            "store": False,
            "background": False,
            "truncation": "disabled",
            "max_tool_calls": 3,
            "include": [],
            "previous_response_id": None,
        },
        {},
    ),
    (
        {"input": [*SAID, {"role": "assistant", "content": "so"}]},
        {"messages": [*SAID, {"role": "assistant", "content": "so"}], "continue_final_message": True},
    ),
]


def test_every_field_of_the_package_is_answered_or_refused_by_name():
    known = ResponsesRequest.model_fields.keys() | ResponsesRequest.not_supported
    assert ResponseCreateParamsBase.__annotations__.keys() - known == set()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return model_with(tmp_path_factory.mktemp("model"))


def model_with(directory: Path) -> Model:
    return open_model(fake_info(save_byte_tokenizer(directory), chat_template=TEMPLATE, reads_tools=True), Settings())


@pytest.mark.parametrize(("body", "expected"), TABLE, ids=lambda value: str(value)[:60])
def test_a_field_becomes_what_the_table_says(model, body, expected):
    request = ResponsesRequest.model_validate({"input": "hi"} | body)
    told = translate_response(request, model).model_dump(mode="json", exclude_none=True)
    assert told == {name: value for name, value in (WHOLE | expected).items() if value is not None}


@pytest.mark.parametrize("choice", ["required", {"type": "function", "name": "look"}], ids=str)
def test_a_call_that_is_required_is_held_by_a_grammar(model, choice):
    request = ResponsesRequest.model_validate({"input": "hi", "tools": [TOOL], "tool_choice": choice})
    assert translate_response(request, model).prefix_allowed_tokens.grammar
